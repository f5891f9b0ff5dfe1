"""Causal depthwise convolution on the compiled library, as PyTorch operators."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from audiomamba.ops import native

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
    """Convolve; x (batch, tokens, channels), weight (channels, width) and bias float32."""
    out: Tensor = _conv(x, weight, bias, lengths, activation, reverse)
    return out


class _Conv(ctypes.Structure):
    """AudiomambaConv of csrc/interface.h."""

    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in ("element", "batch", "tokens", "channels", "width", "silu", "reverse")
        ),
        ("x", native.Tensor3),
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "lengths")),
        ("out", native.Tensor3),
    )


class _ConvGradient(ctypes.Structure):
    """AudiomambaConvGradient of csrc/interface.h."""

    _fields_ = (
        ("conv", _Conv),
        ("grad_out", native.Tensor3),
        ("grad_x", native.Tensor3),
        ("grad_weight", ctypes.c_void_p),
        ("grad_bias", ctypes.c_void_p),
    )


def _arguments(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    lengths: Tensor | None,
    silu: bool,
    reverse: bool,
) -> tuple[_Conv, list[Tensor | None]]:
    """Describe the inputs to the library; returns also the tensors that must outlive the call."""
    x, weight = native.rows(x), weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    lengths = None if lengths is None else lengths.contiguous()
    arguments = _Conv(
        element=native.ELEMENTS[x.dtype],
        batch=x.shape[0],
        tokens=x.shape[1],
        channels=x.shape[2],
        width=weight.shape[1],
        silu=silu,
        reverse=reverse,
        x=native.Tensor3.of(x),
        weight=native.address(weight),
        bias=native.address(bias),
        lengths=native.address(lengths),
    )
    return arguments, [x, weight, bias, lengths]


@torch.library.custom_op("audiomamba::causal_conv1d_v1", mutates_args=(), device_types="cpu")
def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    lengths: Tensor | None,
    silu: bool,
    reverse: bool,
) -> Tensor:
    arguments, alive = _arguments(x, weight, bias, lengths, silu, reverse)
    out = x.new_empty(x.shape)
    arguments.out = native.Tensor3.of(out)
    native.call("conv", arguments)
    del alive
    return out


@_conv.register_fake
def _conv_fake(x: Tensor, *_: object) -> Tensor:
    return x.new_empty(x.shape)


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
    arguments, alive = _arguments(x, weight, bias, lengths, silu, reverse)
    grad_out = native.rows(grad_out)
    grad_x, grad_weight, grad_bias = _conv_backward_fake(grad_out, x, weight, bias)
    gradient = _ConvGradient(
        conv=arguments,
        grad_out=native.Tensor3.of(grad_out),
        grad_x=native.Tensor3.of(grad_x),
        grad_weight=native.address(grad_weight),
        grad_bias=None if bias is None else native.address(grad_bias),
    )
    native.call("conv_gradient", gradient)
    del alive
    return grad_x, grad_weight, grad_bias


@_conv_backward.register_fake
def _conv_backward_fake(
    _grad_out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, *_: object
) -> tuple[Tensor, Tensor, Tensor]:
    grad_bias = weight.new_empty(0 if bias is None else bias.shape)
    return x.new_empty(x.shape), weight.new_empty(weight.shape), grad_bias


def _setup_context(ctx: Any, inputs: tuple[Any, ...], **_: Tensor) -> None:
    *tensors, silu, reverse = inputs
    ctx.save_for_backward(*tensors)
    ctx.flags = (silu, reverse)


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors  # read once: activation checkpointing computes them anew
    grad_x, grad_weight, grad_bias = _conv_backward(grad_out, *saved, *ctx.flags)
    has_bias = saved[2] is not None
    return grad_x, grad_weight, grad_bias if has_bias else None, None, None, None


_conv.register_autograd(_backward, setup_context=_setup_context)
