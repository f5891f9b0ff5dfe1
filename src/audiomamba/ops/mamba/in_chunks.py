"""The mixer on a long sequence where no gradient is asked for: chunk by chunk of tokens.

Each direction reads the sequence once, and the state of its scan is carried from one chunk to the
next. What is expanded never exists for more than a chunk.
"""

import torch
from torch import Tensor

from audiomamba.ops.mamba.plain import scan_arguments
from audiomamba.ops.mamba.weights import DirectionWeights, MixerWeights, Normed
from audiomamba.ops.selective_scan import selective_scan

__all__ = ["MANY_TOKENS", "MANY_TOKENS_IN_SLICES", "mix"]

# The six expanded activations of a chunk take 150 MB in AuM-B, whatever the length of the sequence.
# Shorter chunks are no faster.
CHUNK_TOKENS = 4096
# From how many tokens on. What can be done in slices of the channels takes 1.7 times as long in
# chunks, and up to here not much more memory: in AuM-B 0.8 GB beside 0.7.
MANY_TOKENS = 2 * CHUNK_TOKENS
MANY_TOKENS_IN_SLICES = 8 * CHUNK_TOKENS


def mix(
    hidden: Tensor, weights: MixerWeights, lengths: Tensor | None, _normed: Normed | None
) -> Tensor:
    """Mix the tokens; the arguments are those of `audiomamba.ops.mamba.mix`."""
    mixed = torch.zeros_like(hidden)
    starts = range(0, hidden.shape[1], CHUNK_TOKENS)
    for direction in weights.directions:
        state: Tensor | None = None
        for start in reversed(starts) if direction.reverse else starts:
            tokens = slice(start, min(start + CHUNK_TOKENS, hidden.shape[1]))
            read = _tokens_read(tokens, direction, hidden.shape[1])
            xz = weights.in_proj(hidden[:, read])
            y, state = _scan(xz, tokens, read, direction, state=state, lengths=lengths)
            del xz
            mixed[:, tokens] += weights.out_proj(y)
    return mixed.mul_(0.5) if weights.halve_sum else mixed


def _scan(
    xz: Tensor,
    tokens: slice,
    read: slice,
    direction: DirectionWeights,
    *,
    state: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Scan a chunk; gives its outputs and the state after it.

    Args:
        xz: (batch, tokens read, 2 channels), the input and the gate.
        tokens: of the chunk.
        read: the tokens that xz has.
        direction: its weights.
        state: the state before the chunk; None for zeros.
        lengths: (batch,) tokens of each sequence; None for all.
    """
    x, z = xz.chunk(2, dim=-1)
    given = scan_arguments(x, z, direction, _lengths_within(lengths, read))
    own = slice(tokens.start - read.start, tokens.stop - read.start)
    for name in ("u", "delta", "B", "C", "z"):
        given[name] = given[name][:, own]
    given["lengths"] = _lengths_within(lengths, tokens)
    return selective_scan(
        A=direction.decay(),
        reverse=direction.reverse,
        initial_state=state,
        return_last_state=True,
        **given,
    )


def _tokens_read(tokens: slice, direction: DirectionWeights, n_tokens: int) -> slice:
    """The tokens of a chunk and those beside it that its convolution sees."""
    beside = direction.conv.weight.shape[-1] - 1
    if direction.reverse_conv:
        return slice(tokens.start, min(tokens.stop + beside, n_tokens))
    return slice(max(0, tokens.start - beside), tokens.stop)


def _lengths_within(lengths: Tensor | None, tokens: slice) -> Tensor | None:
    """How many of some tokens each sequence has."""
    if lengths is None:
        return None
    within: Tensor = (lengths - tokens.start).clamp(0, tokens.stop - tokens.start)
    return within
