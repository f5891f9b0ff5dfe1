"""Causal depthwise convolution on the compiled library, as PyTorch operators."""

from typing import Any

import torch
from torch import Tensor

from audiomamba.ops import native
from audiomamba.ops.causal_conv1d.autograd import empty_gradients, link
from audiomamba.ops.interface import ELEMENTS, Conv, ConvGradient, Tensor3

__all__ = ["conv", "conv_gradients"]


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
    untraced = native.is_untraced(x, weight, bias, lengths)
    out: Tensor = (_convolve if untraced else _conv)(x, weight, bias, lengths, activation, reverse)
    return out


def conv_gradients(
    grad_out: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    activation: bool,
    reverse: bool,
    lengths: Tensor | None,
    grad_x: Tensor,
) -> tuple[Tensor, Tensor]:
    """Go back through a convolution; not seen by autograd.

    Args:
        grad_out: (batch, tokens, channels).
        x: what conv() was given, and so the rest.
        weight: the same.
        bias: the same.
        activation: the same.
        reverse: the same.
        lengths: the same.
        grad_x: (batch, tokens, channels), where the gradient of x is written.

    Returns:
        The gradients of the weight and of the bias (empty without one).
    """
    arguments, _alive = _arguments(x, weight, bias, lengths, activation, reverse)
    grad_out = native.rows(grad_out)
    _, grad_weight, grad_bias = empty_gradients(grad_out, x, weight, bias)
    gradient = ConvGradient(
        conv=arguments,
        grad_out=Tensor3.of(grad_out),
        grad_x=Tensor3.of(grad_x),
        grad_weight=native.address(grad_weight),
        grad_bias=None if bias is None else native.address(grad_bias),
    )
    native.call("conv_gradient", gradient)
    return grad_weight, grad_bias


def _arguments(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    lengths: Tensor | None,
    silu: bool,
    reverse: bool,
) -> tuple[Conv, list[Tensor | None]]:
    """Describe the inputs to the library; returns also the tensors that must outlive the call."""
    x, weight = native.rows(x), weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    lengths = None if lengths is None else lengths.contiguous()
    arguments = Conv(
        element=ELEMENTS[x.dtype],
        batch=x.shape[0],
        tokens=x.shape[1],
        channels=x.shape[2],
        width=weight.shape[1],
        silu=silu,
        reverse=reverse,
        x=Tensor3.of(x),
        weight=native.address(weight),
        bias=native.address(bias),
        lengths=native.address(lengths),
    )
    return arguments, [x, weight, bias, lengths]


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    lengths: Tensor | None,
    silu: bool,
    reverse: bool,
) -> Tensor:
    arguments, _alive = _arguments(x, weight, bias, lengths, silu, reverse)
    out = x.new_empty(x.shape)
    arguments.out = Tensor3.of(out)
    native.call("conv", arguments)
    return out


_conv = torch.library.custom_op(
    "audiomamba::causal_conv1d_v1", _convolve, mutates_args=(), device_types="cpu"
)


@torch.library.custom_op(
    "audiomamba::causal_conv1d_backward_v1", mutates_args=(), device_types="cpu"
)
def _conv_backward(
    grad_out: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    lengths: Tensor | None,
    silu: bool,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    grad_x = x.new_empty(x.shape)
    options: dict[str, Any] = {"activation": silu, "reverse": reverse, "lengths": lengths}
    return grad_x, *conv_gradients(grad_out, x, weight, bias, grad_x=grad_x, **options)


link(_conv, _conv_backward)
