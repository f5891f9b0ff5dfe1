"""Scanning a map in four directions, so that every position sees all others.

The directions, in the order in which weights and results have them:

    0   along the rows, row after row, from the first position to the last
    1   along the columns, column after column, from the first to the last
    2   the reverse of 0
    3   the reverse of 1

Maps are channel-last, (batch, rows, columns, channels). All that is made position by position (step
sizes, input and output maps) stays in the order of the map: only this module knows the orders.

Source: Liu et al., "VMamba: Visual State Space Model" (2024), section 4.2.
"""

from torch import Tensor

from audiomamba.errors import ConfigError
from audiomamba.ops.backends import choose_backend, implementation
from audiomamba.ops.cross_scan.inputs import MapInputs
from audiomamba.ops.cross_scan.orders import N_DIRECTIONS, cross_merge, cross_scan
from audiomamba.ops.padding import padding_mask

__all__ = ["N_DIRECTIONS", "cross_merge", "cross_scan", "cross_selective_scan"]


def cross_selective_scan(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    *,
    dt_weight: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    columns: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Scan a map in four directions, each with its own coefficients, and add the results.

    Direction k is selective_scan with softplus, over the map in that direction's order, of step
    size dt[..., k, :] @ dt_weight[k].T and of the k-th quarter of A, D and delta_bias.

    Args:
        u: (batch, rows, columns, channels).
        dt: (batch, rows, columns, 4, rank), the step sizes before their projection.
        A: (4 * channels, states), negative.
        B: (batch, rows, columns, 4, states).
        C: (batch, rows, columns, 4, states).
        dt_weight: (4, channels, rank).
        D: (4 * channels,).
        delta_bias: (4 * channels,).
        columns: (batch,) columns of each map; the scans pass over those after them, which have to
            be finite. All columns if None.
        backend: the name of a backend; None picks.

    Returns:
        (batch, rows, columns, channels) in u's dtype: the sum over directions, not their mean;
        after a map's own columns any finite values.

    Raises:
        ConfigError: shapes do not fit together.
        BackendError: the named backend cannot run this call.

    Source: Liu et al. 2024, SS2D.

    Examples:
        >>> import torch
        >>> u, dt = torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4, 1)
        >>> maps = torch.ones(1, 2, 3, 4, 5)
        >>> A, D, weight = -torch.ones(16, 5), torch.ones(16), torch.ones(4, 4, 1)
        >>> cross_selective_scan(u, dt, A, maps, maps, dt_weight=weight, D=D, delta_bias=D).shape
        torch.Size([1, 2, 3, 4])
    """
    for name, value in {"dt": dt, "B": B, "C": C}.items():
        if value.ndim != 5 or value.shape[:4] != (*u.shape[:3], N_DIRECTIONS):
            raise ConfigError(
                f"{name} has shape {tuple(value.shape)}; "
                f"expected {(*u.shape[:3], N_DIRECTIONS)} and one more"
            )
    op = "cross_selective_scan"
    inputs = MapInputs(u, dt, A, B, C, dt_weight, D, delta_bias, _padding(u, columns))
    y: Tensor = implementation(op, backend, u).scan(inputs, choose_backend(op, backend, u))
    return y


def _padding(u: Tensor, columns: Tensor | None) -> Tensor | None:
    """True where a map has no columns of its own, (batch, rows, columns, 1)."""
    padding = padding_mask(u.shape[2], columns)
    return None if padding is None else padding[:, None, :, None].expand(-1, u.shape[1], -1, -1)
