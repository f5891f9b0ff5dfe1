"""The mixer with gradients on a CPU: little is kept, the rest is computed again."""

import torch
from torch import Tensor

from audiomamba.ops.backends import choose_backend
from audiomamba.ops.linear import linear
from audiomamba.ops.mamba.channel_slices import exceeds_a_slice
from audiomamba.ops.mamba.recomputation import InnerWeights, mamba_inner, project_normed
from audiomamba.ops.mamba.weights import DirectionWeights, MixerWeights, Normed

__all__ = ["mix", "suits"]


def suits(hidden: Tensor, weights: MixerWeights) -> bool:
    """Tell whether a call can be recomputed, and saves more than a little by it.

    Args:
        hidden: (batch, tokens, dim).
        weights: of the mixer.

    Returns:
        Whether a gradient is asked for, the compiled kernels run, nothing is traced, and all
        layers are as they were made.
    """
    return bool(
        torch.is_grad_enabled()
        and hidden.requires_grad
        and exceeds_a_slice(hidden, weights.n_channels)
        and hidden.is_cpu
        and type(hidden) is Tensor
        and not torch.compiler.is_compiling()
        and choose_backend("selective_scan", None, hidden) == "cpu"
        and weights.layers_are_as_made()
    )


def mix(
    hidden: Tensor, weights: MixerWeights, lengths: Tensor | None, normed: Normed | None
) -> Tensor:
    """Mix the tokens; the arguments are those of `audiomamba.ops.mamba.mix`."""
    for_xz, for_out = weights.in_proj.weight, weights.out_proj.weight
    xz = linear(hidden, for_xz) if normed is None else project_normed(hidden, normed, for_xz)
    lengths = None if lengths is None else lengths.long()
    first, *others = weights.directions
    inner = _inner_weights(first)
    if weights.share_inputs:
        A_b = others[0].decay().float() if others else None
        inner = inner._replace(A_b=A_b, out_proj=for_out)
        return mamba_inner(
            xz, inner, lengths, reverse_conv=first.reverse_conv, reverse=first.reverse
        )
    y = mamba_inner(xz, inner, lengths, reverse_conv=first.reverse_conv, reverse=first.reverse)
    for other in others:
        y = y + mamba_inner(
            xz,
            _inner_weights(other),
            lengths,
            reverse_conv=other.reverse_conv,
            reverse=other.reverse,
        )
    return linear(y * 0.5 if weights.halve_sum else y, for_out)


def _inner_weights(direction: DirectionWeights) -> InnerWeights:
    """The weights of one direction alone, without those of the last projection."""
    conv = direction.conv
    return InnerWeights(
        conv=conv.weight[:, 0].float(),
        conv_bias=None if conv.bias is None else conv.bias.float(),
        x_proj=direction.x_proj.weight,
        dt_proj=direction.dt_proj.weight,
        dt_bias=direction.dt_proj.bias.float(),
        A=direction.decay().float(),
        A_b=None,
        D=direction.D.float(),
        out_proj=None,
    )
