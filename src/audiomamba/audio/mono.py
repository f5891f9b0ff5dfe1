"""From channels to one: of frames that are decoded, and of arrays that users have."""

from collections import deque
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiomamba.errors import AudioError, ConfigError

__all__ = [
    "BLOCK_VALUES",
    "JUDGED_FRAMES",
    "MOST_CHANNELS",
    "RATES_HZ",
    "Mixer",
    "as_rate",
    "mix",
    "to_mono",
]

RATES_HZ = range(1_000, 1_000_001)
MOST_CHANNELS = 1024
BLOCK_VALUES = 1 << 16  # samples of all channels that are mixed at once
JUDGED_FRAMES = 1024  # in fewer the channels may cancel each other by chance
CANCELLED = 0.01  # share of the channels' power in their mean below which they cancel each other
LOUDER = 2.0  # power of a channel, relative to the first's, above which it is the louder one

MOST_JUDGED = 32  # times JUDGED_FRAMES, of sound that comes in pieces

_Floats = NDArray[np.float32]
_Powers = NDArray[np.float64]


def mix(frames: _Floats) -> _Floats:
    """Mix channels to one: to their mean, or where they cancel each other to the louder one.

    Channels in opposite phase, as of a cable with two wires exchanged, leave nothing of a sound in
    their mean. Of fewer than 1,024 samples it is always the mean: a few may cancel by chance.

    Args:
        frames: (samples, channels).

    Returns:
        (samples,).

    Examples:
        >>> mix(np.array([[0.5, 0.25]], dtype=np.float32))
        array([0.375], dtype=float32)
        >>> mix(np.full((1024, 2), [0.5, -0.5], dtype=np.float32))[:1]
        array([0.5], dtype=float32)
    """
    if frames.shape[1] == 1:
        return frames[:, 0].copy()
    mono = _mean(frames)
    channel = None if len(frames) < JUDGED_FRAMES else _louder(_powers(frames, mono))
    return mono if channel is None else frames[:, channel].copy()


class Mixer:
    """Mixes channels that come in pieces of any length, as mix does.

    Whether they cancel each other is judged for every 1,024 samples, by these and those before, so
    that it does not matter how long the pieces are. Of one channel nothing is held back.

    Examples:
        >>> mixer = Mixer()
        >>> opposite = np.full((1000, 2), [0.5, -0.5], dtype=np.float32)
        >>> len(mixer.add(opposite)), mixer.add(opposite)[:1], mixer.finish()[:1]
        (0, array([0.5], dtype=float32), array([0.5], dtype=float32))
    """

    def __init__(self) -> None:
        self._rest: _Floats | None = None
        self._powers: deque[_Powers] = deque(maxlen=MOST_JUDGED)

    def add(self, frames: _Floats) -> _Floats:
        """Take the next piece.

        Args:
            frames: (samples, channels).

        Returns:
            (samples,), those that can be mixed by now.
        """
        if frames.shape[1] == 1:
            return frames[:, 0].copy()
        held = frames if self._rest is None else np.concatenate([self._rest, frames])
        n_ready = len(held) // JUDGED_FRAMES * JUDGED_FRAMES
        self._rest = held[n_ready:].copy()
        starts = range(0, n_ready, JUDGED_FRAMES)
        mixed = [self._mix(held[start : start + JUDGED_FRAMES]) for start in starts]
        return np.concatenate(mixed) if mixed else np.zeros(0, dtype=np.float32)

    def finish(self) -> _Floats:
        """Mix what is held at the end: as what was before it, or to the mean.

        Returns:
            (samples,), fewer than 1,024.
        """
        rest, self._rest = self._rest, None
        if rest is None:
            return np.zeros(0, dtype=np.float32)
        channel = self._channel()
        return _mean(rest) if channel is None else rest[:, channel].copy()

    def _mix(self, frames: _Floats) -> _Floats:
        mono = _mean(frames)
        self._powers.append(_powers(frames, mono))
        channel = self._channel()
        return mono if channel is None else frames[:, channel].copy()

    def _channel(self) -> int | None:
        with np.errstate(over="ignore", invalid="ignore"):
            return _louder(np.sum(self._powers, axis=0)) if self._powers else None


def _mean(frames: _Floats) -> _Floats:
    n_channels = frames.shape[1]
    mono: _Floats = frames @ np.full(n_channels, 1 / n_channels, dtype=np.float32)
    return mono


def _powers(frames: _Floats, mono: _Floats) -> _Powers:
    """The power of the mean, and of each channel."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is no sound is refused elsewhere
        powers = np.einsum("ij,ij->j", frames, frames)
        return np.array([np.dot(mono, mono), *powers], dtype=np.float64)


def _louder(powers: _Powers) -> int | None:
    """The channel to hear instead of the mean where they cancel each other; else None."""
    mean, channels = powers[0], powers[1:]
    with np.errstate(over="ignore", invalid="ignore"):
        if not mean < CANCELLED * channels.mean():
            return None
    loudest = int(channels.argmax())
    return loudest if channels[loudest] > LOUDER * channels[0] else 0


def to_mono(samples: Any, *, channels_first: bool = False) -> Tensor:
    """Turn an array of samples into one channel, as those of a file are.

    Args:
        samples: (samples,) or (samples, channels), floating point from -1 to 1; a tensor, an array
            or what NumPy makes one from.
        channels_first: whether it is (channels, samples), as torchaudio, torchcodec and librosa
            give it.

    Returns:
        (samples,) float32, on the CPU and without gradient.

    Raises:
        ConfigError: the samples have another shape or type; or there are more channels than
            samples, as where their order is the other one.
        AudioError: there are no samples, or some are NaN or infinite.

    Examples:
        >>> to_mono(torch.tensor([[0.5, 0.25], [0.25, 0.0]]))
        tensor([0.3750, 0.1250])
        >>> to_mono(torch.zeros(2, 16_000), channels_first=True).shape
        torch.Size([16000])
        >>> to_mono(torch.zeros(2, 16_000))
        Traceback (most recent call last):
            ...
        audiomamba.errors.ConfigError: samples of shape (2, 16000) have more channels than ...
    """
    array = _as_floats(samples)
    if array.ndim not in (1, 2):
        raise ConfigError(
            f"samples are of shape {array.shape}; "
            "expected floating point (samples,) or (samples, channels)"
        )
    if not array.size:
        raise AudioError("the recording has no samples")
    if channels_first and array.ndim == 2:
        array = array.T
    if array.ndim == 2:
        _check_channels(array, channels_first=channels_first)
        n_rows = max(1, BLOCK_VALUES // array.shape[1])
        blocks = (array[start : start + n_rows] for start in range(0, len(array), n_rows))
        array = np.concatenate([mix(np.ascontiguousarray(block)) for block in blocks])
    if not np.isfinite(array).all():
        raise AudioError("the recording holds NaN or infinite samples; expected finite numbers")
    return torch.from_numpy(array)


def as_rate(rate: object) -> int:
    """Check a rate.

    Args:
        rate: samples per second, a whole number from 1000 to 1000000 of any type.

    Returns:
        The rate.

    Raises:
        ConfigError: it is something else.

    Examples:
        >>> as_rate(np.float64(22050.0))
        22050
        >>> as_rate(44.1)
        Traceback (most recent call last):
            ...
        audiomamba.errors.ConfigError: sample_rate is 44.1; expected Hz, a whole number from ...
    """
    value: Any = rate
    if isinstance(rate, Tensor | np.ndarray | np.generic) and np.ndim(rate) == 0:
        value = rate.item()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and RATES_HZ[0] <= value <= RATES_HZ[-1] and value == int(value):
        return int(value)
    is_short = value is None or isinstance(value, int | float | str)
    shown = repr(value) if is_short else f"of type {type(rate).__name__}"
    raise ConfigError(f"sample_rate is {shown}; expected Hz, a whole number from 1000 to 1000000")


def _as_floats(samples: Any) -> _Floats:
    """Samples of any kind as float32, of the shape that they have."""
    if isinstance(samples, Tensor):
        if not samples.is_floating_point() or samples.layout != torch.strided or samples.is_meta:
            raise ConfigError(_wrong_type(str(samples.dtype), samples.shape))
        found: _Floats = samples.detach().to("cpu", torch.float32).resolve_neg().numpy()
        return found
    if np.ma.is_masked(samples):
        raise ConfigError(
            "samples are an array of which some are masked; expected one without, such as "
            "samples.filled(0.0)"
        )
    try:
        array = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:  # such as of rows of different lengths
        raise ConfigError(_wrong_type(type(samples).__name__, ())) from error
    if array.dtype.kind != "f":
        name = str(array.dtype) if array.ndim else type(samples).__name__
        raise ConfigError(_wrong_type(name, array.shape))
    with np.errstate(over="ignore"):  # infinite then, which is refused
        return np.array(array, dtype=np.float32)


def _wrong_type(name: str, shape: tuple[int, ...]) -> str:
    """What is said of samples that are not floating point."""
    of_shape = f" of shape {tuple(shape)}" if len(shape) else ""
    whole = "; whole numbers of 16 bits divided by 32768 are" if "int" in name else ""
    return (
        f"samples are {name}{of_shape}; expected floating point (samples,) or "
        f"(samples, channels) from -1 to 1{whole}"
    )


def _check_channels(array: _Floats, *, channels_first: bool) -> None:
    """Refuse samples whose axes seem to be exchanged, or that have too many channels."""
    n_samples, n_channels = array.shape
    given = (n_channels, n_samples) if channels_first else (n_samples, n_channels)
    if n_channels > n_samples:
        what_to_do = (
            "expected (channels, samples) with channels_first"
            if channels_first
            else "expected (samples, channels): transpose them, or make one channel of them with "
            "audiomamba.audio.to_mono(samples, channels_first=True)"
        )
        raise ConfigError(f"samples of shape {given} have more channels than samples; {what_to_do}")
    if n_channels > MOST_CHANNELS:
        raise ConfigError(
            f"samples of shape {given} have {n_channels} channels; expected at most {MOST_CHANNELS}"
        )
