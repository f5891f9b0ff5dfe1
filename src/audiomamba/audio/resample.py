"""Change of sample rate, by soxr."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiomamba.errors import ConfigError

__all__ = ["resample", "resample_blocks"]


def resample(waveform: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """Resample one waveform.

    Args:
        waveform: (samples,), floating point, on the CPU.
        from_hz: its rate.
        to_hz: the wanted rate.

    Returns:
        (samples,), float32; samples is the old number times to_hz / from_hz, rounded.

    Raises:
        ConfigError: the waveform is not one-dimensional, or a rate is below 1.
    """
    if waveform.ndim != 1 or not waveform.is_floating_point():
        raise ConfigError(
            f"waveform is {waveform.dtype} of shape {tuple(waveform.shape)}; "
            "expected floating point (samples,)"
        )
    if from_hz < 1 or to_hz < 1:
        raise ConfigError(f"rates are {from_hz} and {to_hz} Hz; expected at least 1")
    if from_hz == to_hz:
        return waveform.float()
    samples = waveform.detach().float().numpy()
    return torch.from_numpy(soxr.resample(samples, from_hz, to_hz))


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], from_hz: int, to_hz: int
) -> Iterator[NDArray[np.float32]]:
    """Resample a waveform that comes in blocks (samples,); as a whole equal to resample()."""
    if from_hz == to_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_hz, to_hz, num_channels=1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, dtype=np.float32), last=True)
