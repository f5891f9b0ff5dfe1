"""Causal depthwise convolution on GPUs, as PyTorch operators: the backend "triton".

All sums are made in a fixed order, so the gradients are the same every time.
"""

from typing import Any

import torch
from torch import Tensor

from audiomamba.ops.causal_conv1d import triton_kernels as kernels
from audiomamba.ops.causal_conv1d.autograd import link

__all__ = ["conv"]

TOKENS, BLOCK, WARPS = 32, 64, 4  # of a tile
TILES_EACH = 8  # of a program of the gradient: its sums take little of the memory of a tensor


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    activation: bool,
    reverse: bool,
    lengths: Tensor | None,
) -> Tensor:
    """Convolve; x (batch, tokens, channels), weight (channels, width) and bias float32."""
    out: Tensor = _conv(x, weight, bias, lengths, activation, reverse)
    return out


def _laid_out(x: Tensor, *others: Tensor | None) -> tuple[Any, ...]:
    """Copy what the kernels cannot read as it is."""
    x = x if x.stride(-1) == 1 else x.contiguous()
    return (x, *(None if one is None else one.contiguous() for one in others))


def _options(bias: Tensor | None, lengths: Tensor | None, width: int) -> dict[str, Any]:
    """What the kernels are specialized for."""
    return {
        "HAS_BIAS": bias is not None,
        "HAS_LENGTHS": lengths is not None,
        "WIDTH": width,
        "TOKENS": TOKENS,
        "BLOCK": BLOCK,
        "num_warps": WARPS,
    }


@torch.library.custom_op("audiomamba::causal_conv1d_triton_v1", mutates_args=())
def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    lengths: Tensor | None,
    silu: bool,
    reverse: bool,
) -> Tensor:
    x, weight, bias, lengths = _laid_out(x, weight, bias, lengths)
    out = x.new_empty(x.shape)
    if out.numel() > 0:
        batch, tokens, channels = x.shape
        kernels.convolve[(-(-channels // BLOCK), -(-tokens // TOKENS), batch)](
            x, *x.stride()[:2], weight, bias, lengths, out, tokens, channels,
            SILU=silu, REVERSE=reverse, **_options(bias, lengths, weight.shape[1]),
        )  # fmt: skip
    return out


@torch.library.custom_op("audiomamba::causal_conv1d_triton_backward_v1", mutates_args=())
def _conv_backward(
    grad_out: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    lengths: Tensor | None,
    silu: bool,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    x, weight, bias, lengths = _laid_out(x, weight, bias, lengths)
    (grad_out,) = _laid_out(grad_out)
    (batch, tokens, channels), width = x.shape, weight.shape[1]
    n_chunks = -(-tokens // (TILES_EACH * TOKENS))
    inner = weight.new_empty(x.shape)
    sums = weight.new_empty((batch, n_chunks, width + 1, channels))
    grad_x = x.new_empty(x.shape)
    if x.numel() > 0:
        blocks, options = -(-channels // BLOCK), _options(bias, lengths, width)
        kernels.gradient[(blocks, n_chunks, batch)](
            x, *x.stride()[:2], grad_out, *grad_out.stride()[:2], weight, bias, lengths,
            inner, sums, tokens, channels, TILES_EACH, SILU=silu, REVERSE=reverse,
            ROWS=1 << width.bit_length(), **options,
        )  # fmt: skip
        kernels.convolve[(blocks, -(-tokens // TOKENS), batch)](
            inner, *inner.stride()[:2], weight, None, lengths, grad_x, tokens, channels,
            SILU=False, REVERSE=not reverse, **{**options, "HAS_BIAS": False},
        )  # fmt: skip
    total = sums.sum(dim=(0, 1))
    of_bias = weight.new_empty(0) if bias is None else total[width].clone()
    return grad_x, total[:width].T.contiguous(), of_bias


link(_conv, _conv_backward)
