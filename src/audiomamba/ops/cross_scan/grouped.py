"""Scans of a map in four directions as one scan, each direction a group of channels."""

import torch
from torch import Tensor

from audiomamba.ops.cross_scan.inputs import NO_STEP, MapInputs
from audiomamba.ops.cross_scan.orders import N_DIRECTIONS, cross_merge, cross_scan, in_own_order
from audiomamba.ops.selective_scan import selective_scan

__all__ = ["scan"]


def scan(inputs: MapInputs, backend: str) -> Tensor:
    """Lay the map out in four orders side by side and scan it in one call."""
    u, dt, A, B, C, dt_weight, D, delta_bias, padding = inputs
    delta = torch.einsum("btkr,kdr->btkd", in_own_order(dt), dt_weight)
    if padding is not None:
        padding = padding.unsqueeze(-1).expand(-1, -1, -1, N_DIRECTIONS, -1)
        delta = delta.masked_fill(in_own_order(padding), NO_STEP)
    y = selective_scan(
        cross_scan(u).flatten(2),
        delta.flatten(2),
        A,
        in_own_order(B),
        in_own_order(C),
        D=D,
        delta_bias=delta_bias,
        delta_softplus=True,
        backend=backend,
    )
    rows, columns = u.shape[1:3]
    return cross_merge(y.unflatten(2, (N_DIRECTIONS, -1)), rows, columns)
