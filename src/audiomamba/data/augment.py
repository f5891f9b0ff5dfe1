"""Changes to training clips that leave their labels true, or change the labels along with them."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import soxr

from audiomamba.errors import ConfigError

__all__ = ["Augment", "Masks", "change_speed", "draw_masks", "loud_start", "mix", "wrap"]

LOUD_SHARE = 0.3
N_PLACES = 6


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What is done to training clips.

    Args:
        speed: slowest and fastest playing speed; drawn evenly on a log scale. (1, 1) for none.
        roll: whether a clip begins at a random place and goes on at its start where it ends; if
            only a piece of it is wanted, the place is one where something is heard.
        gain_db: the level is changed by up to this much up or down.
        mixup: probability that a second clip is mixed in.
        mixup_alpha: the first clip's share is drawn from Beta(alpha, alpha): 1 for evenly
            distributed shares, 10 for shares near one half.
        negatives: probability that a clip is replaced by a sound that is none of the classes: a
            synthetic one, or as often the clip itself with its spectrum turned upside down. Its
            label vector is all 0.
        n_mel_masks: number of mel bands masks.
        mel_mask_bins: greatest width of one, in mel bins.
        n_frame_masks: number of masks in time.
        frame_mask_frames: greatest length of one, in frames.

    Raises:
        ConfigError: a setting is out of its range.

    Source: SpecAugment (Park et al. 2019) for the masks; AST and AuM for mixup of waveforms.
    """

    speed: tuple[float, float] = (1.0, 1.0)
    roll: bool = False
    gain_db: float = 0.0
    mixup: float = 0.0
    mixup_alpha: float = 10.0
    negatives: float = 0.0
    n_mel_masks: int = 0
    mel_mask_bins: int = 0
    n_frame_masks: int = 0
    frame_mask_frames: int = 0

    def __post_init__(self) -> None:
        slow, fast = self.speed
        if not 0.25 <= slow <= fast <= 4:
            raise ConfigError(f"speed is {self.speed}; expected slowest <= fastest, .25 to 4")
        for name in ("mixup", "negatives"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 to 1")
        if not self.mixup_alpha > 0:
            raise ConfigError(f"mixup_alpha is {self.mixup_alpha}; expected more than 0")
        for name in (
            "gain_db",
            "n_mel_masks",
            "mel_mask_bins",
            "n_frame_masks",
            "frame_mask_frames",
        ):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 or more")


class Masks(NamedTuple):
    """Ranges of a spectrogram that are hidden.

    Args:
        mels: (masks, 2) first and past-the-last mel bin of each.
        frames: (masks, 2) first and past-the-last frame of each.
    """

    mels: np.ndarray
    frames: np.ndarray


def change_waveform(
    waveform: np.ndarray, n_samples: int, augment: Augment, rng: np.random.Generator
) -> np.ndarray:
    """Change the speed, the beginning and the level of one clip.

    Args:
        waveform: (samples,) float32.
        n_samples: samples in the result.
        augment: the settings.
        rng: the clip's random numbers.

    Returns:
        (n_samples,) float32; a clip that is too short is repeated.
    """
    slow, fast = augment.speed
    waveform = change_speed(waveform, math.exp(rng.uniform(math.log(slow), math.log(fast))))
    start = 0
    if augment.roll and n_samples < len(waveform):
        start = loud_start(waveform, n_samples, rng)
    elif augment.roll:
        start = int(rng.integers(len(waveform)))
    gain_db = rng.uniform(-augment.gain_db, augment.gain_db)
    return wrap(waveform, start, n_samples) * np.float32(10 ** (gain_db / 20))


def loud_start(waveform: np.ndarray, n_samples: int, rng: np.random.Generator) -> int:
    """Draw where a piece of a clip begins, so that the piece is not one of its silent stretches.

    Args:
        waveform: (samples,); read again from its start where it ends.
        n_samples: length of the piece, less than samples.
        rng: the clip's random numbers.

    Returns:
        The first of a few random places whose piece has at least LOUD_SHARE of the clip's mean
        power; the loudest of them if none has.
    """
    starts = rng.integers(len(waveform), size=N_PLACES)
    turned = np.concatenate([waveform, waveform[:n_samples]]).astype(np.float64)
    energy = np.concatenate([[0.0], np.cumsum(turned * turned)])
    pieces = energy[starts + n_samples] - energy[starts]
    loud = pieces >= LOUD_SHARE * energy[len(waveform)] * n_samples / len(waveform)
    return int(starts[loud.argmax() if loud.any() else pieces.argmax()])


def change_speed(waveform: np.ndarray, speed: float) -> np.ndarray:
    """Play a waveform faster or slower, with its pitch.

    Args:
        waveform: (samples,) float32.
        speed: 2 for twice as fast.

    Returns:
        About (samples / speed,) float32.
    """
    if speed == 1:
        return waveform
    played: np.ndarray = soxr.resample(waveform, speed, 1.0)
    return played


def wrap(waveform: np.ndarray, start: int, n_samples: int) -> np.ndarray:
    """Read a waveform from a place on, beginning again where it ends.

    Args:
        waveform: (samples,).
        start: first sample, less than samples.
        n_samples: how many to read.

    Returns:
        (n_samples,).
    """
    if start:
        waveform = np.concatenate([waveform[start:], waveform[:start]])
    return np.resize(waveform, n_samples)


def mix(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mix two clips and their labels.

    Args:
        first: waveform (samples,) and label vector (classes,) of one clip.
        second: the same of the other.
        share: weight of the first, 0 to 1.

    Returns:
        Waveform (samples,) and label vector (classes,), float32.
    """
    weight, rest = np.float32(share), np.float32(1 - share)
    return weight * first[0] + rest * second[0], weight * first[1] + rest * second[1]


def draw_masks(augment: Augment, shape: tuple[int, int], rng: np.random.Generator) -> Masks:
    """Draw the masks of one clip: widths from 0 to the greatest, anywhere they fit.

    Args:
        augment: the settings.
        shape: frames and mels of the spectrogram.
        rng: the clip's random numbers.

    Returns:
        The masks.
    """
    frames, mels = shape
    return Masks(
        mels=_ranges(augment.n_mel_masks, augment.mel_mask_bins, mels, rng),
        frames=_ranges(augment.n_frame_masks, augment.frame_mask_frames, frames, rng),
    )


def _ranges(n_masks: int, widest: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Ranges of random width at random places, (masks, 2)."""
    widths = rng.integers(min(widest, length) + 1, size=n_masks)
    starts = rng.integers(length - widths + 1, size=n_masks)
    return np.stack([starts, starts + widths], axis=1)
