"""Residual addition and RMSNorm on GPUs, as PyTorch operators: the backend "triton"."""

from typing import Any

import torch
from torch import Tensor

from audiomamba.ops.add_rms_norm import triton_kernels as kernels

__all__ = ["add_norm"]

ROWS_EACH = 32  # of a program of the gradient: its sums take a 32nd of the memory of a tensor
CHANNELS_PER_WARP = 256
MOST_WARPS = 16


def add_norm(
    x: Tensor, residual: Tensor | None, weight: Tensor, *, eps: float
) -> tuple[Tensor, Tensor]:
    """Add and normalize; residual and weight are float32."""
    normed, total, _ = _add_norm(x, residual, weight, eps)
    return normed, total


def _launch(channels: int) -> dict[str, int]:
    """How the kernels are cut for a number of channels, which one program has all of."""
    block = 1 << (channels - 1).bit_length()
    return {"BLOCK": block, "num_warps": max(1, min(MOST_WARPS, block // CHANNELS_PER_WARP))}


@torch.library.custom_op("audiomamba::add_rms_norm_triton_v1", mutates_args=())
def _add_norm(
    x: Tensor, residual: Tensor | None, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    x, weight = x.contiguous(), weight.contiguous()
    residual = None if residual is None else residual.contiguous()
    normed, total, scale = _add_norm_fake(x, residual, weight, eps)
    if scale.numel() > 0:
        kernels.add_and_normalize[(scale.numel(),)](
            x, residual, weight, normed, total, scale, x.shape[-1], eps,
            HAS_RESIDUAL=residual is not None, **_launch(x.shape[-1]),
        )  # fmt: skip
    return normed, total, scale


@_add_norm.register_fake
def _add_norm_fake(
    x: Tensor, _residual: Tensor | None, weight: Tensor, _eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    total = weight.new_empty(x.shape)
    return x.new_empty(x.shape), total, weight.new_empty(x.shape[:-1])


@torch.library.custom_op("audiomamba::add_rms_norm_triton_backward_v1", mutates_args=())
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
    grad_x, grad_residual, _ = _add_norm_backward_fake(
        grad_normed, grad_total, total, scale, weight, residual
    )
    rows, channels = scale.numel(), total.shape[-1]
    sums = weight.new_empty((-(-rows // ROWS_EACH), channels))
    if rows > 0:
        kernels.gradient[(sums.shape[0],)](
            grad_normed, grad_total, total, scale, weight, grad_x, grad_residual, sums,
            rows, channels, ROWS_EACH, HAS_RESIDUAL=residual, **_launch(channels),
        )  # fmt: skip
    return grad_x, grad_residual, sums.sum(dim=0)


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
