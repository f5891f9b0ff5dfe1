"""The selective scan as one loop over the tokens, in a graph that leaves PyTorch.

States stand before channels, so that a step computes on long rows. Both directions, and all groups
of channels, go through one loop side by side: they are its lanes. The decay is carried like a
state, because there are runtimes that refuse a loop which reads anything from outside.
"""

import torch
from torch import Tensor

from audiomamba.ops.selective_scan.inputs import ScanInputs, step_inputs, written

__all__ = ["scan"]


def scan(
    inputs: ScanInputs, *, want_last_state: bool, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scan; returns the outputs and the last state, of one direction, which costs nothing."""
    del want_last_state
    delta, inflow, B, C, skipped, gate = step_inputs(inputs)
    decays = [inputs.A] if inputs.A_b is None else [inputs.A, inputs.A_b]
    batch, groups = B.shape[0], B.shape[2]
    A = torch.cat([decay.unflatten(0, (groups, -1)).mT[:, None] for decay in decays])
    by_channel = [x.unflatten(2, (groups, -1)).permute(1, 2, 0, 3) for x in (delta, inflow)]
    by_state = [x.permute(1, 2, 0, 3) for x in (B, C)]
    rows = [*(x.unsqueeze(-2) for x in by_channel), *(x.unsqueeze(-1) for x in by_state)]
    rows = [_in_order(x, inputs) for x in rows]
    if inputs.initial_state is None:
        state = A.new_zeros(A.shape[0], batch, *A.shape[2:])
    else:
        state = inputs.initial_state.unflatten(1, (groups, -1)).permute(1, 0, 3, 2)
    state, lanes = _loop(A, state, rows)
    y = _summed(lanes, inputs).permute(2, 0, 1, 3).flatten(2)
    if skipped is not None:
        y = y + len(decays) * skipped
    y = y if gate is None else y * gate
    last = A.new_empty(0) if inputs.A_b is not None else state.permute(1, 0, 3, 2).flatten(1, 2)
    return written((y.to(inputs.u.dtype), last), out)


def _loop(A: Tensor, state: Tensor, rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The last state (lanes, batch, states, channels), and (tokens, lanes, batch, channels)."""
    from torch._higher_order_ops.scan import scan as loop

    def step(carried: list[Tensor], row: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        (A, state), (delta, inflow, B, C) = carried, row
        state = torch.exp(delta * A) * state + inflow * B
        return [A.clone(), state], (state * C).sum(-2)

    (_, last), lanes = loop(step, [A, state], rows)
    return last, lanes


def _in_order(row: Tensor, inputs: ScanInputs) -> Tensor:
    """The rows (tokens, lanes, ...) as the loop reads them."""
    if inputs.A_b is not None:
        return torch.cat([row, row.flip(0)], dim=1)
    return row.flip(0) if inputs.reverse else row


def _summed(lanes: Tensor, inputs: ScanInputs) -> Tensor:
    """The opposite of _in_order; two directions are added."""
    if inputs.A_b is not None:
        forward, backward = lanes.chunk(2, dim=1)
        return forward + backward.flip(0)
    return lanes.flip(0) if inputs.reverse else lanes
