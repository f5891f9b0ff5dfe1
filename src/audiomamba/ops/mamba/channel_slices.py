"""How the channels of a mixer are sliced, so that a slice of a tensor fits the caches."""

import math

import torch
from torch import Tensor

__all__ = ["channel_slices", "exceeds_a_slice"]

# Numbers of a tensor that a slice of channels has: 4 MB in float32. It is more where each thread
# would otherwise have fewer channels than this.
SLICE_NUMBERS = 1 << 20
SLICE_CHANNELS = 128


def channel_slices(x: Tensor, n_channels: int) -> list[slice]:
    """Cut channels into slices of one width, a multiple of 64.

    Args:
        x: (batch, tokens, any), beside which the channels are.
        n_channels: how many there are.

    Returns:
        The slices, in order; the last may be narrower.
    """
    n_tokens = x.shape[0] * x.shape[1]
    most = max(SLICE_NUMBERS // n_tokens, SLICE_CHANNELS * torch.get_num_threads())
    width = math.ceil(n_channels / math.ceil(n_channels / most) / 64) * 64
    return [slice(start, min(start + width, n_channels)) for start in range(0, n_channels, width)]


def exceeds_a_slice(x: Tensor, n_channels: int) -> bool:
    """Tell whether a tensor of so many channels is larger than a slice.

    Args:
        x: (batch, tokens, any), beside which the channels are.
        n_channels: how many there are.

    Returns:
        Whether it is.
    """
    return x.shape[0] * x.shape[1] * n_channels > SLICE_NUMBERS
