"""The selective scan as its definition reads: the truth that every backend is compared with.

One loop over the tokens carries a (batch, channels, states) state; autograd makes the gradients.
Channels are seen as (groups, channels per group), so that B and C of a group broadcast over them.
"""

import torch
from torch import Tensor

from audiomamba.ops.selective_scan.inputs import (
    ScanInputs,
    both_directions,
    step_inputs,
    written,
)

__all__ = ["scan"]


def scan(
    inputs: ScanInputs, *, want_last_state: bool, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scan; returns the outputs and the last state, which costs nothing."""
    del want_last_state
    return written(both_directions(_scan_one_way, inputs), out)


def _scan_one_way(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    delta, inflow, B, C, skipped, gate = step_inputs(inputs)
    batch, tokens, channels = delta.shape
    groups, states = B.shape[2:]
    grouped = (groups, channels // groups)
    A = inputs.A.reshape(*grouped, states)
    # One slice per token: unbind's gradient is one stack, that of indexing a full array per token.
    steps = delta.reshape(batch, tokens, *grouped, 1).unbind(1)
    inflows = inflow.reshape(batch, tokens, *grouped, 1).unbind(1)
    Bs, Cs = B.unsqueeze(3).unbind(1), C.unsqueeze(3).unbind(1)
    state = A.new_zeros(batch, *grouped, states)
    if inputs.initial_state is not None:
        state = inputs.initial_state.reshape(batch, *grouped, states)
    rows = [torch.empty(0)] * tokens
    for t in reversed(range(tokens)) if inputs.reverse else range(tokens):
        state = torch.exp(steps[t] * A) * state + inflows[t] * Bs[t]
        rows[t] = (state * Cs[t]).sum(-1).flatten(1)
    out = torch.stack(rows, dim=1)
    out = out if skipped is None else out + skipped
    out = out if gate is None else out * gate
    return out.to(inputs.u.dtype), state.flatten(1, 2)
