"""Residual addition and RMSNorm on the compiled library, as PyTorch operators."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from audiomamba.ops import native

__all__ = ["add_norm"]


def add_norm(
    x: Tensor, residual: Tensor | None, weight: Tensor, *, eps: float
) -> tuple[Tensor, Tensor]:
    """Add and normalize; residual and weight are float32."""
    normed, total, _ = _add_norm(x, residual, weight, eps)
    return normed, total


class _Norm(ctypes.Structure):
    """AudiomambaNorm of csrc/interface.h."""

    _fields_ = (
        ("element", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("eps", ctypes.c_float),
        *(
            (name, ctypes.c_void_p)
            for name in ("x", "residual", "weight", "normed", "total", "scale")
        ),
    )


class _NormGradient(ctypes.Structure):
    """AudiomambaNormGradient of csrc/interface.h."""

    _fields_ = (
        ("element", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "total",
                "scale",
                "weight",
                "grad_normed",
                "grad_total",
                "grad_x",
                "grad_residual",
                "grad_weight",
            )
        ),
    )


@torch.library.custom_op("audiomamba::add_rms_norm_v1", mutates_args=(), device_types="cpu")
def _add_norm(
    x: Tensor, residual: Tensor | None, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    x, weight = x.contiguous(), weight.contiguous()
    residual = None if residual is None else residual.contiguous()
    normed, total, scale = _add_norm_fake(x, residual, weight, eps)
    arguments = _Norm(
        element=native.ELEMENTS[x.dtype],
        rows=scale.numel(),
        channels=x.shape[-1],
        eps=eps,
        x=native.address(x),
        residual=native.address(residual),
        weight=native.address(weight),
        normed=native.address(normed),
        total=native.address(total),
        scale=native.address(scale),
    )
    native.call("norm", arguments)
    return normed, total, scale


@_add_norm.register_fake
def _add_norm_fake(
    x: Tensor, _residual: Tensor | None, weight: Tensor, _eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    total = weight.new_empty(x.shape)
    return x.new_empty(x.shape), total, weight.new_empty(x.shape[:-1])


@torch.library.custom_op(
    "audiomamba::add_rms_norm_backward_v1", mutates_args=(), device_types="cpu"
)
def _add_norm_backward(
    grad_normed: Tensor,
    grad_total: Tensor,
    total: Tensor,
    scale: Tensor,
    weight: Tensor,
    residual: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    grad_normed, grad_total = grad_normed.contiguous(), grad_total.contiguous()
    weight = weight.contiguous()
    grad_x, grad_residual, grad_weight = _add_norm_backward_fake(
        grad_normed, grad_total, total, scale, weight, residual
    )
    arguments = _NormGradient(
        element=native.ELEMENTS[grad_normed.dtype],
        rows=scale.numel(),
        channels=total.shape[-1],
        total=native.address(total),
        scale=native.address(scale),
        weight=native.address(weight),
        grad_normed=native.address(grad_normed),
        grad_total=native.address(grad_total),
        grad_x=native.address(grad_x),
        grad_residual=native.address(grad_residual) if residual else None,
        grad_weight=native.address(grad_weight),
    )
    native.call("norm_gradient", arguments)
    return grad_x, grad_residual, grad_weight


@_add_norm_backward.register_fake
def _add_norm_backward_fake(
    grad_normed: Tensor,
    _grad_total: Tensor,
    total: Tensor,
    _scale: Tensor,
    weight: Tensor,
    residual: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    grad_residual = weight.new_empty(total.shape if residual else 0)
    return grad_normed.new_empty(total.shape), grad_residual, weight.new_empty(weight.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, residual, weight, _ = inputs
    _, total, scale = output
    ctx.save_for_backward(total, scale, weight)
    ctx.has_residual = residual is not None


def _backward(
    ctx: Any, grad_normed: Tensor, grad_total: Tensor, _: Tensor
) -> tuple[Tensor | None, ...]:
    grad_x, grad_residual, grad_weight = _add_norm_backward(
        grad_normed, grad_total, *ctx.saved_tensors, ctx.has_residual
    )
    return grad_x, grad_residual if ctx.has_residual else None, grad_weight, None


_add_norm.register_autograd(_backward, setup_context=_setup_context)
