"""The causal convolution as one depthwise convolution of a graph that leaves PyTorch."""

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad, silu

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
    (channels, width), padding = weight.shape, None
    if lengths is not None:
        padding = (torch.arange(x.shape[1], device=x.device) >= lengths[:, None]).unsqueeze(-1)
        x = x.masked_fill(padding, 0)
    kernel = (weight.flip(1) if reverse else weight).unsqueeze(1)
    wide = pad(x.to(weight.dtype).mT, (0, width - 1) if reverse else (width - 1, 0))
    out = conv1d(wide, kernel, bias, groups=channels).mT
    out = silu(out) if activation else out
    return (out if padding is None else out.masked_fill(padding, 0)).to(x.dtype)
