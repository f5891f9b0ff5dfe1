"""Mixtures of tones, sweeps and bands of noise, with what is loudest where: sound to segment."""

import math

import torch
from torch import Generator, Tensor

from audiomamba.audio import FrontEnd, log_mel_spectrogram, normalize
from audiomamba.vision.data.dataset import ImageSet

__all__ = ["FRONT_END", "LABELS", "mixtures"]

LABELS = ("background", "tone", "sweep", "noise band")
FRONT_END = FrontEnd(n_frames=192)
LEVELS = (0.05, 0.5)  # of the sounds' amplitude
BACKGROUND = (0.001, 0.01)
FADE_S = 0.02
LOWEST_HZ = 150.0


def mixtures(n: int, seed: int = 0) -> ImageSet:
    """Make mixtures of one to four sounds on quiet noise.

    A cell of the spectrogram has the class of the sound that is louder there than all others
    and the noise together, if there is one.

    Args:
        n: how many.
        seed: which ones; index i of a seed is always the same.

    Returns:
        Features (192 frames, 128 mels), normed, and the class of each cell (128 mels, 192 frames).

    Examples:
        >>> features, classes = mixtures(4)[0]
        >>> features.shape, classes.shape
        (torch.Size([192, 128]), torch.Size([128, 192]))
    """

    def read(index: int) -> tuple[Tensor, Tensor]:
        sounds, kinds = draw_mixture(seed * 1_000_003 + index)
        features = normalize(log_mel_spectrogram(sounds.sum(dim=0), FRONT_END), FRONT_END)
        return features, loudest(sounds, kinds)

    return ImageSet("segment-sound", LABELS, [f"{index}" for index in range(n)], read)


def draw_mixture(seed: int) -> tuple[Tensor, Tensor]:
    """Draw the sounds of a mixture.

    Args:
        seed: which mixture.

    Returns:
        (sounds, samples), the background first; and their classes (sounds,).
    """
    rng = Generator().manual_seed(seed)
    n_sounds = int(torch.randint(1, 5, (), generator=rng))
    kinds = torch.randint(1, len(LABELS), (n_sounds,), generator=rng)
    time = torch.arange(FRONT_END.n_samples) / FRONT_END.sample_rate
    noise = _uniform(*BACKGROUND, rng) * torch.randn(len(time), generator=rng)
    sounds = [_MAKERS[kind](time, rng) * _gain(time, rng) for kind in kinds.tolist()]
    return torch.stack([noise, *sounds]), torch.cat([torch.tensor([0]), kinds])


def loudest(sounds: Tensor, kinds: Tensor) -> Tensor:
    """Say for each cell which sound has more power there than all others together.

    Args:
        sounds: (sounds, samples), the background first.
        kinds: (sounds,) their classes.

    Returns:
        (mels, frames) classes; that of the background where no sound has.
    """
    log_mel = log_mel_spectrogram(sounds, FRONT_END)
    found = torch.zeros(log_mel.shape[1:], dtype=torch.long)
    for index in range(1, len(sounds)):
        others = torch.cat([log_mel[:index], log_mel[index + 1 :]]).logsumexp(dim=0)
        found[log_mel[index] > others] = kinds[index]
    return found.T.contiguous()


def _tone(time: Tensor, rng: Generator) -> Tensor:
    """A steady tone with overtones."""
    lowest = _log_uniform(LOWEST_HZ, 1500.0, rng)
    n_parts = int(torch.randint(1, 5, (), generator=rng))
    parts = [
        torch.sin(2 * math.pi * lowest * order * time) / order for order in range(1, n_parts + 1)
    ]
    return torch.stack(parts).sum(dim=0)


def _sweep(time: Tensor, rng: Generator) -> Tensor:
    """A tone that rises or falls by at least an octave within the clip."""
    middle = _log_uniform(400.0, 2500.0, rng)
    octaves = _uniform(1.0, 2.5, rng) * (1 if _uniform(0, 1, rng) < 0.5 else -1)
    rate = octaves * math.log(2) / float(time[-1])
    start = middle * math.exp2(-octaves / 2)
    return torch.sin(2 * math.pi * start * torch.expm1(rate * time) / rate)


def _noise_band(time: Tensor, rng: Generator) -> Tensor:
    """Noise of one to two octaves."""
    low = _log_uniform(300.0, 3000.0, rng)
    high = low * math.exp2(_uniform(0.7, 1.4, rng))
    spectrum = torch.fft.rfft(torch.randn(len(time), generator=rng))
    frequency = torch.fft.rfftfreq(len(time), 1 / FRONT_END.sample_rate)
    spectrum[(frequency < low) | (frequency > high)] = 0
    noise: Tensor = torch.fft.irfft(spectrum, len(time))
    return noise / noise.std()


_MAKERS = {1: _tone, 2: _sweep, 3: _noise_band}  # by class


def _gain(time: Tensor, rng: Generator) -> Tensor:
    """When a sound is heard, and how loud."""
    total = time[-1].item()
    length = total * _uniform(0.25, 0.8, rng)
    start = (total - length) * _uniform(0, 1, rng)
    edge = torch.minimum(time - start, start + length - time) / FADE_S
    return _log_uniform(*LEVELS, rng) * edge.clamp(0, 1)


def _uniform(low: float, high: float, rng: Generator) -> float:
    return low + (high - low) * torch.rand((), generator=rng).item()


def _log_uniform(low: float, high: float, rng: Generator) -> float:
    return math.exp(_uniform(math.log(low), math.log(high), rng))
