"""What may be given as a recording: a path, an open file, or samples with their rate."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiomamba import audio
from audiomamba.audio.resample import resample
from audiomamba.errors import AudioError, ConfigError

__all__ = ["Audio", "Samples", "read_blocks"]

Samples = Tensor | NDArray[Any]
Audio = str | Path | BinaryIO | tuple[Samples, int]


def read_blocks(recording: Audio, sample_rate: int) -> Iterator[Tensor]:
    """Decode, mix to one channel and resample, block by block.

    Args:
        recording: a file's path, a file open for reading bytes, or (samples, sample_rate) with
            samples (samples,) or (samples, channels), floating point from -1 to 1.
        sample_rate: the wanted rate in Hz.

    Yields:
        (samples,) float32, at least one.

    Raises:
        AudioError: the recording cannot be read, or holds no samples.
        ConfigError: the samples have another shape or type.
    """
    if not isinstance(recording, tuple):
        yield from audio.stream(recording, sample_rate=sample_rate)
        return
    samples = _mono(recording[0])
    if not len(samples):
        raise AudioError("the recording has no samples")
    yield resample(samples, from_hz=recording[1], to_hz=sample_rate)


def _mono(samples: Samples) -> Tensor:
    """(samples,) or (samples, channels) -> (samples,) float32, checked."""
    tensor = torch.as_tensor(np.asarray(samples))
    if tensor.ndim not in (1, 2) or not tensor.is_floating_point():
        raise ConfigError(
            f"samples are {tensor.dtype} of shape {tuple(tensor.shape)}; "
            "expected floating point (samples,) or (samples, channels)"
        )
    mono = tensor.float() if tensor.ndim == 1 else tensor.float().mean(1)
    if not mono.isfinite().all():
        raise AudioError("the recording holds NaN or infinite samples; expected finite numbers")
    return mono
