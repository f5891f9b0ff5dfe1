"""The mixer operation by operation, as its formula reads.

Every layer is called as a module: replaced layers, quantized weights and hooks have their effect.
"""

from typing import Any, NamedTuple

from torch import Tensor

from audiomamba.ops.causal_conv1d import causal_conv1d
from audiomamba.ops.linear import is_as_made, linear
from audiomamba.ops.mamba.weights import DirectionWeights, MixerWeights, Normed
from audiomamba.ops.selective_scan import bidirectional_selective_scan, selective_scan

__all__ = ["ScanMaps", "mix", "scan_arguments", "scan_maps"]


def mix(
    hidden: Tensor, weights: MixerWeights, lengths: Tensor | None, _normed: Normed | None
) -> Tensor:
    """Mix the tokens; the arguments are those of `audiomamba.ops.mamba.mix`."""
    x, z = weights.in_proj(hidden).chunk(2, dim=-1)
    y = _scan(x, z, weights, lengths)
    out: Tensor = weights.out_proj(y * 0.5 if weights.halve_sum else y)
    return out


def _scan(x: Tensor, z: Tensor, weights: MixerWeights, lengths: Tensor | None) -> Tensor:
    """The sum of the directions."""
    first, *others = weights.directions
    given = scan_arguments(x, z, first, lengths)
    if others and weights.share_inputs:
        return bidirectional_selective_scan(A=first.decay(), A_b=others[0].decay(), **given)
    y: Tensor = selective_scan(A=first.decay(), reverse=first.reverse, **given)
    for other in others:
        given = scan_arguments(x, z, other, lengths)
        y = y + selective_scan(A=other.decay(), reverse=other.reverse, **given)
    return y


class ScanMaps(NamedTuple):
    """What a direction makes of its input for the scan.

    Args:
        u: (batch, tokens, channels), the convolved input.
        dt: (batch, tokens, rank), the low-rank form of delta.
        B: (batch, tokens, states).
        C: (batch, tokens, states).
    """

    u: Tensor
    dt: Tensor
    B: Tensor
    C: Tensor


def scan_maps(x: Tensor, direction: DirectionWeights, lengths: Tensor | None) -> ScanMaps:
    """Convolve and project the input of one direction.

    Args:
        x: (batch, tokens, channels).
        direction: its weights.
        lengths: (batch,) tokens of each sequence; None for all.

    Returns:
        What the scan reads at each token.
    """
    u = causal_conv1d(
        x,
        direction.conv.weight[:, 0],
        direction.conv.bias,
        activation="silu",
        reverse=direction.reverse_conv,
        lengths=lengths,
    )
    projected, states = direction.x_proj(u), direction.A_log.shape[1]
    dt, b, c = projected.split([projected.shape[-1] - 2 * states, states, states], dim=-1)
    return ScanMaps(u, dt, b, c)


def scan_arguments(
    x: Tensor, z: Tensor, direction: DirectionWeights, lengths: Tensor | None
) -> dict[str, Any]:
    """Make what selective_scan() is given for one direction, by name, all but A.

    Args:
        x: (batch, tokens, channels).
        z: (batch, tokens, channels), the gate.
        direction: its weights.
        lengths: (batch,) tokens of each sequence; None for all.

    Returns:
        The arguments.
    """
    u, dt, b, c = scan_maps(x, direction, lengths)
    delta, bias = _step_sizes(dt, direction)
    return {
        "u": u,
        "delta": delta,
        "B": b,
        "C": c,
        "D": direction.D,
        "z": z,
        "delta_bias": bias,
        "delta_softplus": True,
        "lengths": lengths,
    }


def _step_sizes(dt: Tensor, direction: DirectionWeights) -> tuple[Tensor, Tensor | None]:
    """The step sizes before their softplus, and the bias that the scan has to add to them."""
    layer = direction.dt_proj
    if is_as_made(layer):  # the scan adds the bias in float32, and in the same pass
        return linear(dt, layer.weight), layer.bias
    return layer(dt), None
