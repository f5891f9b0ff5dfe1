"""Changes to training clips that leave their labels true, or change the labels along with them."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import soxr

from audiomamba.config import Fraction, NotNegative, Positive, check
from audiomamba.errors import ConfigError

__all__ = [
    "Augment",
    "Masks",
    "change_speed",
    "change_waveform",
    "draw_box",
    "draw_masks",
    "draw_warp",
    "fill_up",
    "loud_start",
    "mix",
    "shift",
    "wrap",
]

LOUD_SHARE = 0.3
N_PLACES = 6


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What is done to training clips.

    Args:
        speed: slowest and fastest playing speed; drawn evenly on a log scale. (1, 1) for none.
        roll: whether a clip begins at a random place and goes on at its start where it ends; if
            only a piece of it is wanted, the place is one where something is heard.
        segment_s: of a clip that is longer than this, a random piece of this length is taken before
            anything else; its beginning is used where the model's input is shorter still. None for
            the whole clip.
        short_clips: what follows a clip that is shorter than the model's input: "repeat" begins it
            again, "pad" ends it there, and the front end fills the missing frames.
        shift_s: the sound is moved by up to this much earlier or later; silence fills the gap.
        gain_db: the level is changed by up to this much up or down.
        mixup: probability that a second clip is mixed in.
        mixup_of: whether "waveforms" are mixed, or "features": log-mel spectrograms.
        mixup_alpha: the first clip's share is drawn from Beta(alpha, alpha): 1 for evenly
            distributed shares, 10 for shares near one half.
        cutmix: probability that a rectangle of a second clip's spectrogram replaces that part of
            the clip's own; the labels are shared by area.
        cutmix_alpha: the share of the first clip is drawn from Beta(alpha, alpha), before the
            rectangle is cut off at the spectrogram's edges.
        negatives: probability that a clip is replaced by a sound that is none of the classes: a
            synthetic one, or as often the clip itself with its spectrum turned upside down. Its
            label vector is all 0.
        n_mel_masks: number of mel bands masks.
        mel_mask_bins: greatest width of one, in mel bins.
        n_frame_masks: number of masks in time.
        frame_mask_frames: greatest length of one, in frames.
        mask_value: what is put there: "mean" of the data set; "zero" in log-mel values before
            normalization, as AST and AuM do, which is loud; or "clip-mean", of the spectrogram.
        time_warp_frames: a random frame is moved by less than this many frames, and the rest of the
            spectrogram is stretched and squeezed to fit.
        noise: evenly distributed noise is added to the normalized features, from 0 to a height
            that is drawn evenly from 0 to this.
        roll_frames: the features are rolled along time by a number of frames from -roll_frames to
            roll_frames - 1.

    Raises:
        ConfigError: a setting is out of its range, or two do not go together.

    Source: SpecAugment (Park et al. 2019) for the masks and the warp; AST and AuM for mixup of
    waveforms, noise and roll; CutMix (Yun et al. 2019).

    Examples:
        >>> augment = Augment(mixup=0.5, n_frame_masks=1, frame_mask_frames=48)
        >>> augment.mixup_of, augment.mixes_features
        ('waveforms', False)
        >>> Augment(mixup=1.5)
        Traceback (most recent call last):
        audiomamba.errors.ConfigError: Augment.mixup is 1.5; expected a number from 0 to 1
    """

    speed: tuple[float, float] = (1.0, 1.0)
    roll: bool = False
    segment_s: Positive | None = None
    short_clips: Literal["repeat", "pad"] = "repeat"
    shift_s: float = 0.0
    gain_db: float = 0.0
    mixup: Fraction = 0.0
    mixup_of: Literal["waveforms", "features"] = "waveforms"
    mixup_alpha: Positive = 10.0
    cutmix: Fraction = 0.0
    cutmix_alpha: Positive = 1.0
    negatives: Fraction = 0.0
    n_mel_masks: NotNegative = 0
    mel_mask_bins: NotNegative = 0
    n_frame_masks: NotNegative = 0
    frame_mask_frames: NotNegative = 0
    mask_value: Literal["mean", "zero", "clip-mean"] = "mean"
    time_warp_frames: NotNegative = 0
    noise: float = 0.0
    roll_frames: NotNegative = 0

    @property
    def mixes_features(self) -> bool:
        """Whether a second clip's spectrogram may be needed."""
        return self.cutmix > 0 or (self.mixup > 0 and self.mixup_of == "features")

    def __post_init__(self) -> None:
        check(self)
        slow, fast = self.speed
        if not 0.25 <= slow <= fast <= 4:
            raise ConfigError(f"speed is {self.speed}; expected slowest <= fastest, .25 to 4")
        if self.roll and self.short_clips == "pad":
            raise ConfigError("roll is true and short_clips is 'pad'; a roll needs 'repeat'")


class Masks(NamedTuple):
    """Ranges of a spectrogram that are hidden.

    Args:
        mels: (masks, 2) first and past-the-last mel bin of each.
        frames: (masks, 2) first and past-the-last frame of each.
    """

    mels: np.ndarray
    frames: np.ndarray


def change_waveform(
    waveform: np.ndarray,
    n_samples: int,
    augment: Augment,
    rng: np.random.Generator,
    *,
    sample_rate: int = 16_000,
) -> np.ndarray:
    """Change the piece, the speed, the beginning and the level of one clip.

    Args:
        waveform: (samples,) float32.
        n_samples: samples in the result.
        augment: the settings.
        rng: the clip's random numbers.
        sample_rate: of the waveform, in Hz.

    Returns:
        (n_samples,) float32. A clip that is too short is repeated, or with short_clips "pad" given
        as it is, without its mean.
    """
    if augment.segment_s is not None:
        n_kept = round(augment.segment_s * sample_rate)
        first = int(rng.integers(max(len(waveform) - n_kept, 0) + 1))
        waveform = waveform[first : first + n_kept]
    slow, fast = augment.speed
    waveform = change_speed(waveform, math.exp(rng.uniform(math.log(slow), math.log(fast))))
    start = 0
    if augment.roll and n_samples < len(waveform):
        start = loud_start(waveform, n_samples, rng)
    elif augment.roll:
        start = int(rng.integers(len(waveform)))
    if augment.shift_s:
        longest = augment.shift_s * sample_rate
        waveform = shift(waveform, round(rng.uniform(-longest, longest)))
    gain_db = rng.uniform(-augment.gain_db, augment.gain_db)
    gain = np.float32(10 ** (gain_db / 20))
    if augment.short_clips == "pad":
        piece: np.ndarray = waveform[:n_samples] - waveform.mean()
        return piece * gain
    return wrap(waveform, start, n_samples) * gain


def shift(waveform: np.ndarray, n_samples: int) -> np.ndarray:
    """Move a sound in time within its clip.

    Args:
        waveform: (samples,).
        n_samples: how far, later if positive, earlier if negative.

    Returns:
        (samples,), with zeros where nothing is left.
    """
    moved = np.zeros_like(waveform)
    length = max(0, len(waveform) - abs(n_samples))
    to, source = max(n_samples, 0), max(-n_samples, 0)
    moved[to : to + length] = waveform[source : source + length]
    return moved


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
        second: the same of the other; it is cut, or silence follows it, to the first's length.
        share: weight of the first, 0 to 1.

    Returns:
        Waveform (samples,) and label vector (classes,), float32.

    Source: the data loaders of AST and AuM.
    """
    weight, rest = np.float32(share), np.float32(1 - share)
    waveform = weight * first[0] + rest * fill_up(second[0], len(first[0]))
    return waveform, weight * first[1] + rest * second[1]


def fill_up(waveform: np.ndarray, n_samples: int) -> np.ndarray:
    """Cut a waveform, or let silence follow it, to a length.

    Args:
        waveform: (samples,).
        n_samples: the length.

    Returns:
        (n_samples,).
    """
    return np.pad(waveform[:n_samples], (0, max(0, n_samples - len(waveform))))


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


def draw_box(share: float, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw the rectangle of CutMix: its middle anywhere, cut off at the edges.

    Args:
        share: what is to be left of the spectrogram, 0 to 1, if nothing is cut off.
        shape: frames and mels of the spectrogram.
        rng: the clip's random numbers.

    Returns:
        (4,) int64: first and past-the-last frame, first and past-the-last mel bin.

    Source: Yun et al., "CutMix" (2019), section 3.1 and released code.
    """
    sides = np.array(shape)
    halves = (sides * math.sqrt(1 - share)).astype(np.int64) // 2
    middle = rng.integers(sides)
    ranges = np.stack([middle - halves, middle + halves], axis=1)
    return ranges.clip(0, sides[:, None]).reshape(4)


def draw_warp(augment: Augment, n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Draw which frame time is bent at, and where that frame goes.

    Args:
        augment: the settings.
        n_frames: frames of the spectrogram.
        rng: the clip's random numbers.

    Returns:
        (2,) int64; twice the same frame where the spectrogram is too short to be bent.

    Source: SpecAugment (Park et al. 2019), section 2.
    """
    widest = augment.time_warp_frames
    if n_frames <= 2 * widest:
        return np.zeros(2, dtype=np.int64)
    frame = rng.integers(widest, n_frames - widest)
    return np.array([frame, frame + rng.integers(-widest + 1, widest)], dtype=np.int64)


def _ranges(n_masks: int, widest: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Ranges of random width at random places, (masks, 2)."""
    widths = rng.integers(min(widest, length) + 1, size=n_masks)
    starts = rng.integers(length - widths + 1, size=n_masks)
    return np.stack([starts, starts + widths], axis=1)
