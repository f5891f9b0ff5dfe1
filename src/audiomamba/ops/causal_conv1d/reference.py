"""Causal depthwise convolution as its definition reads: a sum of shifted inputs."""

import torch
from torch import Tensor
from torch.nn.functional import pad, silu

from audiomamba.ops.padding import mask_padding

__all__ = ["conv"]


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    activation: bool,
    reverse: bool,
    lengths: Tensor | None,
) -> Tensor:
    """Convolve; x (batch, tokens, channels), weight (channels, width) and bias wide."""
    tokens, width = x.shape[1], weight.shape[1]
    own = mask_padding(x, lengths, dim=1)
    wide = pad(own.to(weight.dtype), (0, 0, 0, width - 1) if reverse else (0, 0, width - 1, 0))
    out = torch.zeros(x.shape, dtype=weight.dtype, device=x.device)
    if bias is not None:
        out = out + bias
    for k in range(width):
        start = width - 1 - k if reverse else k
        out = out + wide[:, start : start + tokens] * weight[:, k]
    out = silu(out) if activation else out
    return mask_padding(out, lengths, dim=1).to(x.dtype)
