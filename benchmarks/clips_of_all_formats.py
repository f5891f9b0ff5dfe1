"""Make a folder of short clips in wav, flac, mp3 and ogg, one or two channels, for throughput.

    python benchmarks/clips_of_all_formats.py ESC-50/audio demo/recordings --out clips

The first 5 s of each recording are taken in turns, shifted by a little more each time, until there
are enough; every second four of eight that have one channel are given two.
"""

import argparse
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import soundfile

from audiomamba import audio

CLIP_S, SHIFT = 5, 997
FORMATS = ("wav", "flac", "mp3", "ogg")


def clips(files: list[Path]) -> Iterator[tuple[np.ndarray, int]]:
    """Clips (samples, channels) with their rates, without end."""
    for number, file in enumerate(cycle(files)):
        with soundfile.SoundFile(file) as sound:
            frames = sound.read(CLIP_S * sound.samplerate, dtype="float32", always_2d=True)
            yield np.roll(frames, SHIFT * (number // len(files)), axis=0), sound.samplerate


def main() -> None:
    """Read the command line and write the clips."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sound", nargs="+", help="recordings, or folders of them")
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    parser.add_argument("--clips", type=int, default=1000)
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    known = soundfile.available_formats().keys()
    files = [file for file in audio.find(options.sound) if file.suffix[1:].upper() in known]
    for number, (frames, rate_hz) in enumerate(islice(clips(files), options.clips)):
        is_doubled = number % 8 >= 4 and frames.shape[1] == 1
        written = np.repeat(frames, 2, axis=1) if is_doubled else frames
        suffix = FORMATS[number % 4]
        soundfile.write(options.out / f"{number:05}.{suffix}", written, rate_hz)


if __name__ == "__main__":
    main()
