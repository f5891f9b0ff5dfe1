"""Mix recordings of this folder into one of a minute, for `audiomamba timeline`.

python demo/mix.py demo/mixed.wav
"""

import sys
from pathlib import Path

import soundfile
import torch

from audiomamba import audio

RATE_HZ, SECONDS = 32_000, 60
PEAK, HEADROOM = 0.5, 0.95
FADE_S = 0.1
# What begins when, and how loud; a fire goes on under speech.
SCORE = (
    ("rooster.wav", 1.0, 1.0),
    ("cow.ogg", 5.0, 1.0),
    ("crying_baby.mp3", 12.0, 1.0),
    ("clock_tick.ogg", 17.0, 0.7),
    ("campfire.ogg", 26.0, 0.4),
    ("speech.wav", 28.0, 1.0),
    ("blackbird.ogg", 38.0, 1.0),
    ("cat.mp3", 48.0, 1.0),
    ("rain.ogg", 51.0, 1.0),
)


def mix(folder: Path) -> torch.Tensor:
    """The mixture, (samples,)."""
    mixed = torch.zeros(SECONDS * RATE_HZ)
    for name, start_s, gain in SCORE:
        sound = audio.load(folder / name, sample_rate=RATE_HZ)
        sound = sound * (PEAK * gain / sound.abs().max())
        fade = torch.linspace(0, 1, int(FADE_S * RATE_HZ))[: len(sound) // 2]
        sound[: len(fade)] *= fade
        sound[len(sound) - len(fade) :] *= fade.flip(0)
        start = int(start_s * RATE_HZ)
        sound = sound[: len(mixed) - start]
        mixed[start : start + len(sound)] += sound
    return mixed / max(1.0, float(mixed.abs().max()) / HEADROOM)


if __name__ == "__main__":
    soundfile.write(sys.argv[1], mix(Path(__file__).with_name("recordings")).numpy(), RATE_HZ)
