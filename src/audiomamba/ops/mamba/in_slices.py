"""The mixer with less memory where no gradient is asked for, on a CPU: slice by slice of channels.

The step sizes and the gate exist for a slice only, and the scan's result takes the place of its
input. All is in the caches while a slice is worked on, so this is faster, too.
"""

from typing import Any

from torch import Tensor

from audiomamba.ops.linear import is_as_made, linear
from audiomamba.ops.mamba.channel_slices import channel_slices
from audiomamba.ops.mamba.plain import scan_maps
from audiomamba.ops.mamba.weights import MixerWeights, Normed
from audiomamba.ops.selective_scan import bidirectional_selective_scan, selective_scan

__all__ = ["mix", "suits"]


def suits(hidden: Tensor, weights: MixerWeights) -> bool:
    """Tell whether the channels of a mixer can be worked on slice by slice.

    Args:
        hidden: (batch, tokens, dim).
        weights: of the mixer.

    Returns:
        Whether it is on a CPU, its directions share their inputs, and the weights of the layers
        that are sliced may be read.
    """
    layers = (weights.in_proj, weights.directions[0].dt_proj)
    return hidden.is_cpu and weights.share_inputs and all(map(is_as_made, layers))


def mix(
    hidden: Tensor, weights: MixerWeights, lengths: Tensor | None, _normed: Normed | None
) -> Tensor:
    """Mix the tokens; the arguments are those of `audiomamba.ops.mamba.mix`."""
    direction, *others = weights.directions
    slices = channel_slices(hidden, weights.n_channels)
    for_x, for_z = weights.in_proj.weight.chunk(2)
    if len(slices) == 1:  # one product is faster than two
        x, z = linear(hidden, weights.in_proj.weight).chunk(2, dim=-1)
    else:
        x, z = linear(hidden, for_x), None
    u, dt, b, c = scan_maps(x, direction, lengths)
    del x
    for channels in slices:
        own = u[..., channels]
        given: dict[str, Any] = {
            "u": own,
            "delta": linear(dt, direction.dt_proj.weight[channels]),
            "A": direction.decay(channels),
            "B": b,
            "C": c,
            "D": direction.D[channels],
            "z": linear(hidden, for_z[channels]) if z is None else z,
            "delta_bias": direction.dt_proj.bias[channels],
            "delta_softplus": True,
            "lengths": lengths,
            "out": own,  # the scan reads a row before it writes it
        }
        if others:
            bidirectional_selective_scan(A_b=others[0].decay(channels), **given)
        else:
            selective_scan(reverse=direction.reverse, **given)
        del given  # or else the next slice's tensors would be made beside these
    out: Tensor = weights.out_proj(u)
    return out
