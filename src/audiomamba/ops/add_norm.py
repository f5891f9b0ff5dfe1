"""Residual addition and a norm of either kind: what stands between two blocks."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.ops.add_rms_norm import add_rms_norm

__all__ = ["NORM_EPS", "Norm", "add_norm", "new_norm"]

Norm = Literal["rms", "layer"]

NORM_EPS = 1e-5


def new_norm(kind: Norm, dim: int) -> nn.RMSNorm | nn.LayerNorm:
    """The norm between two blocks and after the last, over so many channels."""
    return nn.RMSNorm(dim, eps=NORM_EPS) if kind == "rms" else nn.LayerNorm(dim, eps=NORM_EPS)


def add_norm(
    x: Tensor, residual: Tensor | None, norm: nn.RMSNorm | nn.LayerNorm
) -> tuple[Tensor, Tensor]:
    """Add x to the residual stream and normalize the sum; an RMS norm is done by add_rms_norm.

    Args:
        x: (..., channels).
        residual: the shape of x, or None for 0.
        norm: the norm, over the channels.

    Returns:
        normed, in the shape and dtype of x; residual_out, in the shape of x, float32 (float64 where
        x is float64).

    Examples:
        >>> normed, total = add_norm(torch.tensor([[1.0, 3.0]]), None, nn.LayerNorm(2, eps=0.0))
        >>> normed.tolist(), total.tolist()
        ([[-1.0, 1.0]], [[1.0, 3.0]])
    """
    if isinstance(norm, nn.RMSNorm):
        eps = torch.finfo(x.dtype).eps if norm.eps is None else norm.eps
        return add_rms_norm(x, residual, norm.weight, eps=eps)
    wide = torch.promote_types(x.dtype, torch.float32)
    residual = x.to(wide) if residual is None else residual + x
    weight, bias = norm.weight.to(wide), norm.bias.to(wide)
    return F.layer_norm(residual, weight.shape, weight, bias, norm.eps).to(x.dtype), residual
