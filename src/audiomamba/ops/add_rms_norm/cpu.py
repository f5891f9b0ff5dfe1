"""Residual addition and RMSNorm on the compiled library, as PyTorch operators."""

import torch
from torch import Tensor

from audiomamba.ops import native
from audiomamba.ops.add_rms_norm.autograd import empty_gradients, empty_results, link
from audiomamba.ops.interface import ELEMENTS, Norm, NormGradient

__all__ = ["add_norm"]


def add_norm(
    x: Tensor, residual: Tensor | None, weight: Tensor, *, eps: float
) -> tuple[Tensor, Tensor]:
    """Add and normalize; residual and weight are float32."""
    untraced = native.is_untraced(x, residual, weight)
    normed, total, _ = (_add_and_normalize if untraced else _add_norm)(x, residual, weight, eps)
    return normed, total


def _add_and_normalize(
    x: Tensor, residual: Tensor | None, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    x, weight = x.contiguous(), weight.contiguous()
    residual = None if residual is None else residual.contiguous()
    normed, total, scale = empty_results(x, residual, weight, eps)
    arguments = Norm(
        element=ELEMENTS[x.dtype],
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


_add_norm = torch.library.custom_op(
    "audiomamba::add_rms_norm_v1", _add_and_normalize, mutates_args=(), device_types="cpu"
)


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
    grad_x, grad_residual, grad_weight = empty_gradients(
        grad_normed, grad_total, total, scale, weight, residual
    )
    arguments = NormGradient(
        element=ELEMENTS[grad_normed.dtype],
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


link(_add_norm, _add_norm_backward)
