"""The arguments of a scan of a map, as every backend takes them."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["NO_STEP", "MapInputs"]

NO_STEP = -1e4  # its softplus is 0, with which a step leaves the state as it is


class MapInputs(NamedTuple):
    """The arguments of a scan of a map in four directions.

    Args:
        u: (batch, rows, columns, channels).
        dt: (batch, rows, columns, 4, rank), the step sizes before their projection.
        A: (4 * channels, states), negative.
        B: (batch, rows, columns, 4, states).
        C: (batch, rows, columns, 4, states).
        dt_weight: (4, channels, rank).
        D: (4 * channels,).
        delta_bias: (4 * channels,).
        padding: (batch, rows, columns, 1), True where a map has no columns of its own; None for
            nowhere.
    """

    u: Tensor
    dt: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    dt_weight: Tensor
    D: Tensor
    delta_bias: Tensor
    padding: Tensor | None
