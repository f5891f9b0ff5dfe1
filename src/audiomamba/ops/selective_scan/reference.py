"""The selective scan as its definition reads: the truth that every backend is compared with.

One loop over the tokens carries a (batch, channels, states) state; autograd makes the gradients.
Channels are seen as (groups, channels per group), so that B and C of a group broadcast over them.
"""

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from audiomamba.ops.selective_scan.inputs import ScanInputs, padding_mask, without_padding

__all__ = ["bidirectional_scan", "scan"]


def scan(inputs: ScanInputs, *, reverse: bool) -> tuple[Tensor, Tensor]:
    """Scan in one direction; returns out and the last state."""
    inputs = without_padding(inputs)
    wide = inputs.A.dtype
    batch, tokens, channels = inputs.u.shape
    groups, states = inputs.B.shape[2:]
    grouped = (groups, channels // groups)
    u, delta, B, C = (x.to(wide) for x in (inputs.u, inputs.delta, inputs.B, inputs.C))
    if inputs.delta_bias is not None:
        delta = delta + inputs.delta_bias
    if inputs.delta_softplus:
        delta = softplus(delta)
    if inputs.lengths is not None:  # a step of size 0 keeps the state
        delta = delta.masked_fill(padding_mask(inputs.lengths, tokens), 0)
    A = inputs.A.reshape(*grouped, states)
    # One slice per token: unbind's gradient is one stack, that of indexing a full array per token.
    steps = delta.reshape(batch, tokens, *grouped, 1).unbind(1)
    inflows = (delta * u).reshape(batch, tokens, *grouped, 1).unbind(1)
    Bs, Cs = B.unsqueeze(3).unbind(1), C.unsqueeze(3).unbind(1)
    state = torch.zeros(batch, *grouped, states, dtype=wide, device=u.device)
    if inputs.initial_state is not None:
        state = inputs.initial_state.reshape(batch, *grouped, states)
    rows = [torch.empty(0)] * tokens
    for t in reversed(range(tokens)) if reverse else range(tokens):
        state = torch.exp(steps[t] * A) * state + inflows[t] * Bs[t]
        rows[t] = (state * Cs[t]).sum(-1).flatten(1)
    out = torch.stack(rows, dim=1)
    if inputs.D is not None:
        out = out + inputs.D * u
    if inputs.z is not None:
        out = out * silu(inputs.z.to(wide))
    return out.to(inputs.u.dtype), state.flatten(1, 2)


def bidirectional_scan(inputs: ScanInputs, A_b: Tensor) -> Tensor:
    """Scan in both directions, with A and with A_b, and add."""
    wide = inputs._replace(u=inputs.u.to(inputs.A.dtype))
    forward, _ = scan(wide, reverse=False)
    backward, _ = scan(wide._replace(A=A_b), reverse=True)
    return (forward + backward).to(inputs.u.dtype)
