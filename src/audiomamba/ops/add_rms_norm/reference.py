"""Residual addition and RMSNorm as their definitions read."""

import torch
from torch import Tensor

__all__ = ["add_norm"]


def add_norm(
    x: Tensor, residual: Tensor | None, weight: Tensor, *, eps: float
) -> tuple[Tensor, Tensor]:
    """Add and normalize; residual and weight are float32 or float64."""
    total = x.to(weight.dtype) if residual is None else x.to(weight.dtype) + residual
    scale = torch.rsqrt(total.square().mean(-1, keepdim=True) + eps)
    return (total * scale * weight).to(x.dtype), total
