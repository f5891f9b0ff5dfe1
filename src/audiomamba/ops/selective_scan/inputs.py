"""The arguments of a scan, checked and brought to one form for all backends."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from audiomamba.errors import ConfigError

__all__ = [
    "ScanInputs",
    "StepInputs",
    "check_out",
    "checked_decay",
    "checked_inputs",
    "empty_gradients",
    "step_inputs",
]


class ScanInputs(NamedTuple):
    """The arguments of a scan in the form that every backend takes.

    u, delta, z, B and C have one dtype. The rest is float32, or float64 where u is.

    Args:
        u: (batch, tokens, channels).
        delta: (batch, tokens, channels).
        A: (channels, states).
        B: (batch, tokens, groups, states).
        C: (batch, tokens, groups, states).
        D: (channels,) or None.
        z: (batch, tokens, channels) or None.
        delta_bias: (channels,) or None.
        initial_state: (batch, channels, states) or None.
        lengths: (batch,) int64 or None.
        delta_softplus: whether softplus is applied to delta + delta_bias.
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    z: Tensor | None
    delta_bias: Tensor | None
    initial_state: Tensor | None
    lengths: Tensor | None
    delta_softplus: bool


def checked_inputs(inputs: ScanInputs) -> ScanInputs:
    """Check the shapes, cast to the agreed dtypes and give B and C their group axis.

    Args:
        inputs: as the caller gave them: any floating dtypes; B, C in one of their three forms.

    Returns:
        The arguments in the form of `ScanInputs`.

    Raises:
        ConfigError: a shape or dtype does not fit.
    """
    u, A = inputs.u, inputs.A
    if u.ndim != 3 or u.shape[1] == 0:
        raise ConfigError(f"u has shape {_shape(u)}; expected (batch, tokens >= 1, channels)")
    if not u.is_floating_point():
        raise ConfigError(f"u has dtype {u.dtype}; expected a floating dtype")
    batch, tokens, channels = u.shape
    if A.ndim != 2 or A.shape[0] != channels:
        raise ConfigError(f"A has shape {_shape(A)}; expected ({channels}, states)")
    states = A.shape[1]
    _check_shape("delta", inputs.delta, (batch, tokens, channels))
    _check_shape("z", inputs.z, (batch, tokens, channels))
    _check_shape("D", inputs.D, (channels,))
    _check_shape("delta_bias", inputs.delta_bias, (channels,))
    _check_shape("initial_state", inputs.initial_state, (batch, channels, states))
    _check_shape("lengths", inputs.lengths, (batch,))
    wide = torch.float64 if u.dtype == torch.float64 else torch.float32
    B = _with_groups("B", inputs.B, u, states)
    C = _with_groups("C", inputs.C, u, states)
    groups = max(B.shape[2], C.shape[2])
    return ScanInputs(
        u=u,
        delta=inputs.delta.to(u.dtype),
        A=A.to(wide),
        B=_match_groups("B", B, groups).to(u.dtype),
        C=_match_groups("C", C, groups).to(u.dtype),
        D=_cast(inputs.D, wide),
        z=_cast(inputs.z, u.dtype),
        delta_bias=_cast(inputs.delta_bias, wide),
        initial_state=_cast(inputs.initial_state, wide),
        lengths=_cast(inputs.lengths, torch.int64),
        delta_softplus=inputs.delta_softplus,
    )


def checked_decay(A_b: Tensor, inputs: ScanInputs) -> Tensor:
    """Check and cast the decay of a second direction.

    Raises:
        ConfigError: its shape is not that of A.
    """
    _check_shape("A_b", A_b, tuple(inputs.A.shape))
    return A_b.to(inputs.A.dtype)


def check_out(out: Tensor, inputs: ScanInputs) -> None:
    """Check where a result is to be written.

    Raises:
        ConfigError: it does not fit u, or a gradient is asked for.
    """
    _check_shape("out", out, tuple(inputs.u.shape))
    if out.dtype != inputs.u.dtype:
        raise ConfigError(f"out has dtype {out.dtype}; expected {inputs.u.dtype}, as u")
    if torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
        raise ConfigError("out is given where a gradient is asked for; leave it out")


class StepInputs(NamedTuple):
    """What one step of the recurrence reads, for all tokens, in float32 or float64.

    Args:
        delta: (batch, tokens, channels), with its bias and softplus; 0 where there is padding, and
            a step of size 0 keeps the state.
        inflow: (batch, tokens, channels), delta * u.
        B: (batch, tokens, groups, states).
        C: (batch, tokens, groups, states).
        skipped: (batch, tokens, channels), D * u; None without D.
        gate: (batch, tokens, channels), silu(z); None without z.
    """

    delta: Tensor
    inflow: Tensor
    B: Tensor
    C: Tensor
    skipped: Tensor | None
    gate: Tensor | None


def step_inputs(inputs: ScanInputs) -> StepInputs:
    """Do what does not depend on the state.

    Args:
        inputs: checked.

    Returns:
        What the loop over the tokens and the end of the scan need; nothing of what lies beyond a
        length, NaN included, is seen in it.
    """
    wide = inputs.A.dtype
    u, delta, B, C = (x.to(wide) for x in (inputs.u, inputs.delta, inputs.B, inputs.C))
    z = None if inputs.z is None else inputs.z.to(wide)
    padding = None
    if inputs.lengths is not None:
        places = torch.arange(u.shape[1], device=u.device)
        padding = (places >= inputs.lengths[:, None]).unsqueeze(-1)
        u, delta = u.masked_fill(padding, 0), delta.masked_fill(padding, 0)
        B, C = (x.masked_fill(padding.unsqueeze(-1), 0) for x in (B, C))
        z = None if z is None else z.masked_fill(padding, 0)
    if inputs.delta_bias is not None:
        delta = delta + inputs.delta_bias
    if inputs.delta_softplus:
        delta = softplus(delta)
    if padding is not None:
        delta = delta.masked_fill(padding, 0)
    skipped = None if inputs.D is None else inputs.D * u
    return StepInputs(delta, delta * u, B, C, skipped, None if z is None else silu(z))


def empty_gradients(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    A_b: Tensor | None,
    B: Tensor,
    C: Tensor,
    *others: Tensor | None,
) -> list[Tensor]:
    """Make room for the gradients of a scan, as its backward operators return them.

    Args:
        u: as in `ScanInputs`, and so the rest.
        delta: the same.
        A: the same.
        A_b: the decay of a second direction.
        B: the same.
        C: the same.
        others: D, z, delta_bias and initial_state.

    Returns:
        A tensor for each, empty where there is none; those of B and C are sums over channels and
        float32 until they are complete.
    """

    def empty(x: Tensor | None) -> Tensor:
        return A.new_empty(0) if x is None else x.new_empty(x.shape)

    maps = [A.new_empty(B.shape), A.new_empty(C.shape)]
    return [*map(empty, (u, delta, A, A_b)), *maps, *map(empty, others)]


def _with_groups(name: str, value: Tensor, u: Tensor, states: int) -> Tensor:
    """Bring B or C to (batch, tokens, groups, states) without copying."""
    batch, tokens, channels = u.shape
    if value.ndim == 2:
        _check_shape(name, value, (channels, states))
        return value.expand(batch, tokens, channels, states)
    if value.ndim == 3:
        _check_shape(name, value, (batch, tokens, states))
        return value.unsqueeze(2)
    if value.ndim != 4 or value.shape[2] == 0 or channels % value.shape[2] != 0:
        raise ConfigError(
            f"{name} has shape {_shape(value)}; expected ({batch}, {tokens}, {states}), "
            f"({batch}, {tokens}, a divisor of {channels}, {states}) or ({channels}, {states})"
        )
    _check_shape(name, value, (batch, tokens, value.shape[2], states))
    return value


def _match_groups(name: str, value: Tensor, groups: int) -> Tensor:
    """Give B or C the other's number of groups, where that is a multiple of its own."""
    own = value.shape[2]
    if groups % own != 0:
        raise ConfigError(f"{name} has {own} groups; expected a divisor of the other's {groups}")
    if own in (1, groups):
        return value.expand(-1, -1, groups, -1)
    return value.repeat_interleave(groups // own, dim=2)


def _check_shape(name: str, value: Tensor | None, expected: tuple[int, ...]) -> None:
    if value is not None and tuple(value.shape) != expected:
        raise ConfigError(f"{name} has shape {_shape(value)}; expected {expected}")


def _cast(value: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if value is None else value.to(dtype)


def _shape(value: Tensor) -> tuple[int, ...]:
    return tuple(value.shape)
