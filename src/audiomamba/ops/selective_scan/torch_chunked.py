"""The selective scan in plain PyTorch, chunk beside chunk: the backend "torch".

The tokens are split into equal chunks, and one loop over the index within a chunk moves all chunks
on by a token at a time. So there are as many steps as a chunk is long, on tensors that are large
enough to be worth a call, and nothing of size (tokens, channels, states) is ever made. Each chunk
needs the state that enters it: a first loop, without outputs, finds what every chunk makes of an
empty state, and a short loop over the chunks passes the state from one to the next.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from audiomamba.ops.selective_scan.inputs import (
    ScanInputs,
    both_directions,
    step_inputs,
    written,
)

__all__ = ["scan"]

# Numbers in the states of all chunks together: enough to hide the cost of a call, and few enough
# for the second-level cache of a CPU.
CPU_NUMBERS = 1 << 16
DEVICE_NUMBERS = 1 << 23
FEWEST_CHUNKS = 4  # fewer do not pay for the first loop


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
    n_chunks = _n_chunks(delta, states)

    def by_index(x: Tensor) -> tuple[Tensor, ...]:
        """The tokens of all chunks at one index, (batch, chunks, ...), for every index."""
        x = x.flip(1) if inputs.reverse else x
        x = pad(x, (0, 0) * (x.ndim - 2) + (0, -tokens % n_chunks))
        rows: tuple[Tensor, ...] = x.unflatten(1, (n_chunks, -1)).unbind(2)
        return rows

    A = inputs.A.reshape(*grouped, states)
    steps = by_index(delta.reshape(batch, tokens, *grouped, 1))
    inflows = by_index(inflow.reshape(batch, tokens, *grouped, 1))
    Bs, Cs = by_index(B.unsqueeze(3)), by_index(C.unsqueeze(4))
    state = A.new_zeros(batch, *grouped, states)
    if inputs.initial_state is not None:
        state = inputs.initial_state.reshape(batch, *grouped, states)
    entering = state.unsqueeze(1)
    if n_chunks > 1:
        made = torch.zeros_like(A).expand(batch, n_chunks, -1, -1, -1)
        for step, flow, b in zip(steps, inflows, Bs, strict=True):
            made = torch.addcmul(flow * b, torch.exp(step * A), made)
        entering = _passed_on(state, torch.exp(torch.stack(steps).sum(0) * A), made)
    rows = []
    for step, flow, b, c in zip(steps, inflows, Bs, Cs, strict=True):
        entering = torch.addcmul(flow * b, torch.exp(step * A), entering)
        rows.append((entering @ c).flatten(2))
    out = torch.stack(rows, dim=2).flatten(1, 2)[:, :tokens]
    out = out.flip(1) if inputs.reverse else out
    out = out if skipped is None else out + skipped
    out = out if gate is None else out * gate
    return out.to(inputs.u.dtype), entering[:, -1].flatten(1, 2)


def _n_chunks(delta: Tensor, states: int) -> int:
    """As many chunks as fill a step, but not more than a chunk has tokens."""
    batch, tokens, channels = delta.shape
    numbers = CPU_NUMBERS if delta.device.type == "cpu" else DEVICE_NUMBERS
    n_chunks = min(numbers // (batch * channels * states), int(tokens**0.5))
    return n_chunks if n_chunks >= FEWEST_CHUNKS else 1


def _passed_on(state: Tensor, kept: Tensor, made: Tensor) -> Tensor:
    """The state that enters each chunk, from the share kept and what the chunks before made."""
    entering = []
    for keep, make in zip(kept.unbind(1), made.unbind(1), strict=True):
        entering.append(state)
        state = keep * state + make
    return torch.stack(entering, dim=1)
