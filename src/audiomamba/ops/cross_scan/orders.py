"""The four orders in which a map is read; which is which says the op's docstring."""

import torch
from torch import Tensor

__all__ = ["N_DIRECTIONS", "cross_merge", "cross_scan", "in_own_order"]

N_DIRECTIONS = 4


def cross_scan(x: Tensor) -> Tensor:
    """Read a map in the four directions.

    Args:
        x: (batch, rows, columns, channels).

    Returns:
        (batch, tokens, 4, channels), tokens being rows * columns.

    Examples:
        >>> x = torch.arange(6).view(1, 2, 3, 1)
        >>> cross_scan(x)[0, :, :, 0].T.tolist()
        [[0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5], [5, 4, 3, 2, 1, 0], [5, 2, 4, 1, 3, 0]]
    """
    by_row, by_column = _by_row(x), _by_column(x)
    return torch.stack([by_row, by_column, by_row.flip(1), by_column.flip(1)], dim=2)


def cross_merge(y: Tensor, rows: int, columns: int) -> Tensor:
    """Put what was read in four directions back where it was in the map and add it up.

    Args:
        y: (batch, tokens, 4, channels), each direction in its own order.
        rows: of the map.
        columns: of the map; tokens are rows * columns.

    Returns:
        (batch, rows, columns, channels), the sum over directions.

    Examples:
        >>> x = torch.arange(6).view(1, 2, 3, 1)
        >>> cross_merge(cross_scan(x), rows=2, columns=3)[0, :, :, 0].tolist()
        [[0, 4, 8], [12, 16, 20]]
    """
    by_row = y[:, :, 0] + y[:, :, 2].flip(1)
    by_column = y[:, :, 1] + y[:, :, 3].flip(1)
    return _placed(by_row, by_column, rows, columns)


def in_own_order(x: Tensor) -> Tensor:
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
    # A sum is laid out as its first term: the other way round it would not be contiguous.
    merged: Tensor = by_row.unflatten(1, (rows, columns)) + transposed
    return merged
