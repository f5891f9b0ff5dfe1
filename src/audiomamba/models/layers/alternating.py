"""Mamba blocks that read a map in turns: row by row along time, then column by column.

Source: this project; the blocks are AuM's (Erol et al. 2024).
"""

from collections.abc import Iterable

from torch import Tensor, nn

from audiomamba.models.layers.drop_path import drop_path, drop_rates
from audiomamba.models.layers.mamba import Direction, MambaBlock, SSMConfig
from audiomamba.models.layers.sequence import Layout, TokenOrder
from audiomamba.ops import add_norm

__all__ = ["new_blocks", "read_in_turns"]

ORDERS: tuple[TokenOrder, ...] = ("frequency", "time")  # of the blocks, in turns


def new_blocks(
    dim: int, depth: int, direction: Direction, ssm: SSMConfig, drop_rate: float
) -> nn.ModuleList:
    """Make the blocks, with fresh weights; the last one's branch is dropped at the drop rate."""
    rates = drop_rates(drop_rate, depth + 1)[:depth]
    return nn.ModuleList(
        MambaBlock(dim, direction, ssm, depth=depth, drop_path=rate) for rate in rates
    )


def read_in_turns(
    blocks: Iterable[nn.Module],
    norm: nn.RMSNorm | nn.LayerNorm,
    patches: Tensor,
    columns: Tensor | None,
    drop_rate: float,
) -> tuple[Tensor, Layout]:
    """Run the blocks on a map, the first along time, the second along frequency, and so on.

    Args:
        blocks: the blocks.
        norm: what follows the last one.
        patches: (batch, rows, columns, dim).
        columns: (batch,) columns of each clip; None if all have all of them.
        drop_rate: of the last block's branch; 0 outside training.

    Returns:
        The normed tokens (batch, rows * columns, dim), row after row, a clip's own first; and their
        layout.
    """
    n_rows, n_columns = patches.shape[1:3]
    by_row, by_column = (Layout((n_rows, n_columns), order, "none", columns) for order in ORDERS)
    hidden, n_tokens = by_row.join(patches), by_row.lengths
    residual: Tensor | None = None
    now, then = by_row, by_column
    for block in blocks:
        if residual is not None and n_rows > 1:  # else both orders are the same
            hidden, residual = (then.join(now.split(x)) for x in (hidden, residual))
            now, then = then, now
        hidden, residual = block(hidden, residual, n_tokens)
    tokens = add_norm(drop_path(hidden, drop_rate), residual, norm)[0]
    return (tokens if now is by_row else by_row.join(now.split(tokens))), by_row
