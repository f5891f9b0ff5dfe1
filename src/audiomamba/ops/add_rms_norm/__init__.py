"""Residual addition and RMSNorm in one pass: what stands between two blocks."""

import torch
from torch import Tensor

from audiomamba.errors import ConfigError
from audiomamba.ops.backends import implementation

__all__ = ["add_rms_norm"]


def add_rms_norm(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    *,
    eps: float = 1e-5,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Add x to the residual stream and normalize the sum by its root mean square.

    residual_out = x + residual; normed = residual_out / sqrt(mean(residual_out**2) + eps) * weight.
    Computed in float32 (float64 where x is float64); differentiable in x, residual and weight.

    Args:
        x: (..., channels).
        residual: the shape of x, or None for 0.
        weight: (channels,).
        eps: added to the mean square.
        backend: the name of a backend; None picks.

    Returns:
        normed, in the shape and dtype of x; residual_out, in the shape of x, float32 (float64 where
        x is float64).

    Raises:
        ConfigError: shapes do not fit together.
        BackendError: the named backend cannot run this call.

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019), equation 4.

    Examples:
        >>> normed, total = add_rms_norm(torch.ones(2, 3), torch.ones(2, 3), torch.ones(3), eps=0.0)
        >>> total[0].tolist(), normed[0].tolist()
        ([2.0, 2.0, 2.0], [1.0, 1.0, 1.0])
    """
    if x.ndim == 0 or not x.is_floating_point():
        raise ConfigError(
            f"x is {x.dtype} of shape {tuple(x.shape)}; "
            "expected a floating dtype and (..., channels)"
        )
    if residual is not None and residual.shape != x.shape:
        raise ConfigError(
            f"residual has shape {tuple(residual.shape)}; expected that of x, {tuple(x.shape)}"
        )
    if tuple(weight.shape) != (x.shape[-1],):
        raise ConfigError(f"weight has shape {tuple(weight.shape)}; expected ({x.shape[-1]},)")
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    residual = None if residual is None else residual.to(wide)
    run = implementation("add_rms_norm", backend, x).add_norm
    outputs: tuple[Tensor, Tensor] = run(x, residual, weight.to(wide), eps=eps)
    return outputs
