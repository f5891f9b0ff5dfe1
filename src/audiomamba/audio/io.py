"""Recordings as whole waveforms."""

import torch
from torch import Tensor

from audiomamba.audio.blocks import Source, stream

__all__ = ["load"]


def load(source: Source, *, sample_rate: int) -> Tensor:
    """Decode a recording to mono at the wanted rate.

    Args:
        source: a path, the bytes of a file, or a binary file object, which is read from its
            beginning and left open.
        sample_rate: the wanted rate in Hz.

    Returns:
        (samples,), float32, the mean of the recording's channels, around -1 to 1; where they cancel
        each other, as in opposite phase, the louder one.

    Raises:
        AudioError: the file is missing, a folder, empty, not audio, cut short, or has no samples,
            or samples that are not finite numbers. The message names the file.
        MissingDependencyError: the file needs PyAV, and it is not installed.
        ConfigError: sample_rate is out of range, or the source is something else.

    Examples:
        >>> samples = load("my-clips/dog/1.wav", sample_rate=8_000)
        >>> samples.shape, samples.dtype
        (torch.Size([4000]), torch.float32)
    """
    samples = bytearray()  # grows in place, so that the waveform is held only once
    for block in stream(source, sample_rate=sample_rate):
        samples += block.numpy().tobytes()
    return torch.frombuffer(samples, dtype=torch.float32)
