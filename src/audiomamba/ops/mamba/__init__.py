"""The mixer of Mamba: what it computes is one formula, how it is executed is chosen here.

    x, z = in_proj(hidden)                     two tensors of (batch, tokens, channels)
    per direction:
        u = silu(causal convolution of x)
        dt, B, C = x_proj(u)
        y = selective scan of u with delta = softplus(dt_proj(dt)), A, B, C and the skip D
    out = out_proj(sum of the directions' y * silu(z))

Every plan is a file with a function `mix` and computes this formula:

    plain        operation by operation; calls every layer as a module, so it is always right
    recomputed   with gradients on a CPU: keeps little and computes the rest again
    in_slices    without gradients on a CPU: slice by slice of the channels
    in_chunks    without gradients, long sequences: chunk by chunk of the tokens

Source: Gu and Dao 2023, section 3.4; Erol et al. 2024, section II-B, for two directions.
"""

from collections.abc import Callable

from torch import Tensor

from audiomamba.ops.chunking import nothing_is_kept
from audiomamba.ops.mamba import in_chunks, in_slices, plain, recomputed
from audiomamba.ops.mamba.weights import DirectionWeights, MixerWeights, Normed

__all__ = ["DirectionWeights", "MixerWeights", "Normed", "choose_plan", "mix"]

Plan = Callable[[Tensor, MixerWeights, Tensor | None, Normed | None], Tensor]


def mix(
    hidden: Tensor,
    weights: MixerWeights,
    *,
    lengths: Tensor | None = None,
    normed: Normed | None = None,
) -> Tensor:
    """Mix the tokens of a batch of sequences.

    Args:
        hidden: (batch, tokens, dim).
        weights: of the mixer.
        lengths: (batch,) tokens of each sequence, its own ones first; None for all.
        normed: what hidden is the norm of; hidden may then be computed again instead of kept.

    Returns:
        (batch, tokens, dim), 0 after a sequence's own tokens.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> direction = DirectionWeights(
        ...     conv=nn.Conv1d(8, 8, 4, groups=8),
        ...     x_proj=nn.Linear(8, 1 + 2 * 4, bias=False),
        ...     dt_proj=nn.Linear(1, 8),
        ...     A_log=torch.zeros(8, 4),
        ...     D=torch.ones(8),
        ... )
        >>> weights = MixerWeights(nn.Linear(6, 16), nn.Linear(8, 6), (direction,))
        >>> mix(torch.zeros(2, 5, 6), weights).shape
        torch.Size([2, 5, 6])
    """
    return choose_plan(hidden, weights)(hidden, weights, lengths, normed)


def choose_plan(hidden: Tensor, weights: MixerWeights) -> Plan:
    """Pick how a call is executed.

    Args:
        hidden: (batch, tokens, dim), the call's input.
        weights: of the mixer.

    Returns:
        The function `mix` of a plan.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> direction = DirectionWeights(
        ...     conv=nn.Conv1d(8, 8, 4, groups=8),
        ...     x_proj=nn.Linear(8, 1 + 2 * 4, bias=False),
        ...     dt_proj=nn.Linear(1, 8),
        ...     A_log=torch.zeros(8, 4),
        ...     D=torch.ones(8),
        ... )
        >>> weights = MixerWeights(nn.Linear(6, 16), nn.Linear(8, 6), (direction,))
        >>> choose_plan(torch.zeros(2, 5, 6), weights).__module__
        'audiomamba.ops.mamba.plain'
    """
    if nothing_is_kept():
        sliced = in_slices.suits(hidden, weights)
        most = in_chunks.MANY_TOKENS_IN_SLICES if sliced else in_chunks.MANY_TOKENS
        if hidden.shape[1] > most:
            return in_chunks.mix
        if sliced:
            return in_slices.mix
    return recomputed.mix if recomputed.suits(hidden, weights) else plain.mix
