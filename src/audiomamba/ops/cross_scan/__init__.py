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

import torch
from torch import Tensor

from audiomamba.errors import ConfigError
from audiomamba.ops.backends import choose_backend
from audiomamba.ops.cross_scan.cpu import N_DIRECTIONS, four_scans
from audiomamba.ops.linear import linear
from audiomamba.ops.selective_scan import selective_scan

__all__ = ["N_DIRECTIONS", "cross_merge", "cross_scan", "cross_selective_scan"]

NO_STEP = -1e4  # its softplus is 0, with which a step leaves the state as it is


def cross_scan(x: Tensor) -> Tensor:
    """Read a map in the four directions.

    Args:
        x: (batch, rows, columns, channels).

    Returns:
        (batch, tokens, 4, channels), tokens being rows * columns.
    """
    by_row, by_column = _by_row(x), _by_column(x)
    return torch.stack([by_row, by_column, by_row.flip(1), by_column.flip(1)], dim=2)


def cross_merge(y: Tensor, rows: int, columns: int) -> Tensor:
    """Put what was read in four directions back into its places and add it up.

    Args:
        y: (batch, tokens, 4, channels), each direction in its own order.
        rows: of the map.
        columns: of the map; tokens are rows * columns.

    Returns:
        (batch, rows, columns, channels), the sum over directions.
    """
    by_row = y[:, :, 0] + y[:, :, 2].flip(1)
    by_column = y[:, :, 1] + y[:, :, 3].flip(1)
    return _placed(by_row, by_column, rows, columns)


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
        columns: (batch,) columns of each map; the scans pass over what lies behind, which has to be
            finite. All columns if None.
        backend: of selective_scan; None picks.

    Returns:
        (batch, rows, columns, channels) in u's dtype: the sum over directions, not their mean;
        behind a map's own columns any finite values.

    Raises:
        ConfigError: shapes do not fit together.
        BackendError: the named backend cannot run this call.

    Source: Liu et al. 2024, SS2D.
    """
    for name, value in {"dt": dt, "B": B, "C": C}.items():
        if value.ndim != 5 or value.shape[:4] != (*u.shape[:3], N_DIRECTIONS):
            raise ConfigError(
                f"{name} has shape {tuple(value.shape)}; "
                f"expected {(*u.shape[:3], N_DIRECTIONS)} and one more"
            )
    behind = None
    if columns is not None:
        behind = torch.arange(u.shape[2], device=u.device) >= columns[:, None, None]
        behind = behind.expand(-1, u.shape[1], -1).unsqueeze(-1)
    name = choose_backend("selective_scan", backend, u)
    if name == "cpu":
        return _walked_scans(u, dt, A, B, C, dt_weight, D, delta_bias, behind)
    return _grouped_scan(u, dt, A, B, C, dt_weight, D, delta_bias, behind, name)


def _walked_scans(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    dt_weight: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    behind: Tensor | None,
) -> Tensor:
    """Walk over the map four times where it lies."""
    delta = [linear(dt[..., k, :], weight) for k, weight in enumerate(dt_weight)]
    if behind is not None:
        delta = [step.masked_fill(behind, NO_STEP) for step in delta]
    y = four_scans(
        u.flatten(1, 2),
        [step.flatten(1, 2).to(u.dtype) for step in delta],
        A.float(),
        B.flatten(1, 2).to(u.dtype),
        C.flatten(1, 2).to(u.dtype),
        D.float(),
        delta_bias.float(),
        columns=u.shape[2],
    )
    return y.view(u.shape)


def _grouped_scan(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    dt_weight: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    behind: Tensor | None,
    backend: str,
) -> Tensor:
    """Lay the four directions side by side as groups of channels and scan them in one call."""
    rows, columns = u.shape[1:3]
    delta = torch.einsum("btkr,kdr->btkd", _in_own_order(dt), dt_weight)
    if behind is not None:
        behind = behind.unsqueeze(-1).expand(-1, -1, -1, N_DIRECTIONS, -1)
        delta = delta.masked_fill(_in_own_order(behind), NO_STEP)
    y = selective_scan(
        cross_scan(u).flatten(2),
        delta.flatten(2),
        A,
        _in_own_order(B),
        _in_own_order(C),
        D=D,
        delta_bias=delta_bias,
        delta_softplus=True,
        backend=backend,
    )
    return cross_merge(y.unflatten(2, (N_DIRECTIONS, -1)), rows, columns)


def _in_own_order(x: Tensor) -> Tensor:
    """Bring (batch, rows, columns, 4, n), one entry per direction, to (batch, tokens, 4, n)."""
    by_row, by_column = _by_row(x), _by_column(x)
    orders = (by_row[:, :, 0], by_column[:, :, 1])
    reverse = (by_row[:, :, 2].flip(1), by_column[:, :, 3].flip(1))
    return torch.stack([*orders, *reverse], dim=2)


def _by_row(x: Tensor) -> Tensor:
    return x.flatten(1, 2)


def _by_column(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(1, 2)


def _placed(by_row: Tensor, by_column: Tensor, rows: int, columns: int) -> Tensor:
    """Add what is in order of rows and what is in order of columns, as a map."""
    transposed: Tensor = by_column.unflatten(1, (columns, rows)).transpose(1, 2)
    # A sum is laid out as its first part: the other way round it would not be contiguous.
    merged: Tensor = by_row.unflatten(1, (rows, columns)) + transposed
    return merged
