"""Residual addition and RMSNorm on GPUs, as PyTorch operators: the backend "triton"."""

import torch
from torch import Tensor

from audiomamba.ops.add_rms_norm import triton_kernels as kernels
from audiomamba.ops.add_rms_norm.autograd import empty_gradients, empty_results, link

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
    """How the kernels are launched for a number of channels, which one program has all of."""
    block = 1 << (channels - 1).bit_length()
    return {"BLOCK": block, "num_warps": max(1, min(MOST_WARPS, block // CHANNELS_PER_WARP))}


@torch.library.custom_op("audiomamba::add_rms_norm_triton_v1", mutates_args=())
def _add_norm(
    x: Tensor, residual: Tensor | None, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    x, weight = x.contiguous(), weight.contiguous()
    residual = None if residual is None else residual.contiguous()
    normed, total, scale = empty_results(x, residual, weight, eps)
    if scale.numel() > 0:
        kernels.add_and_normalize[(scale.numel(),)](
            x, residual, weight, normed, total, scale, x.shape[-1], eps,
            HAS_RESIDUAL=residual is not None, **_launch(x.shape[-1]),
        )  # fmt: skip
    return normed, total, scale


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
    grad_x, grad_residual, _ = empty_gradients(
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


link(_add_norm, _add_norm_backward)
