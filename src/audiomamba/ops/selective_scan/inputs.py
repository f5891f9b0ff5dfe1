"""The arguments of a scan, checked and brought to one form for all backends."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from audiomamba.errors import ConfigError
from audiomamba.ops.padding import padding_mask

__all__ = [
    "SCAN_SCHEMA",
    "Gradients",
    "ScanInputs",
    "StepInputs",
    "both_directions",
    "check_out",
    "checked_inputs",
    "step_inputs",
    "wants_gradient",
    "written",
]


# The arguments of every operator that scans, as PyTorch's schemas write them: those of ScanInputs.
SCAN_SCHEMA = (
    "Tensor u, Tensor delta, Tensor A, Tensor? A_b, Tensor B, Tensor C, Tensor? D, Tensor? z, "
    "Tensor? delta_bias, Tensor? initial_state, Tensor? lengths, bool softplus, bool reverse"
)


class ScanInputs(NamedTuple):
    """The arguments of a scan in the form that every backend takes.

    u, delta, z, B and C have one dtype. The rest is float32, or float64 where u is.

    Args:
        u: (batch, tokens, channels).
        delta: (batch, tokens, channels).
        A: (channels, states).
        A_b: (channels, states), the decay of a second scan, against the first; None for one scan.
        B: (batch, tokens, groups, states).
        C: (batch, tokens, groups, states).
        D: (channels,) or None.
        z: (batch, tokens, channels) or None.
        delta_bias: (channels,) or None.
        initial_state: (batch, channels, states) or None.
        lengths: (batch,) int64 or None.
        softplus: whether softplus is applied to delta + delta_bias.
        reverse: whether the scan begins at the last token.
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    A_b: Tensor | None
    B: Tensor
    C: Tensor
    D: Tensor | None = None
    z: Tensor | None = None
    delta_bias: Tensor | None = None
    initial_state: Tensor | None = None
    lengths: Tensor | None = None
    softplus: bool = False
    reverse: bool = False

    @classmethod
    def split(cls, given: Sequence[Any]) -> tuple["ScanInputs", Sequence[Any]]:
        """Take the arguments of an operator apart: those of the scan, and what follows them."""
        n = len(cls._fields)
        return cls(*given[:n]), given[n:]


class Gradients(NamedTuple):
    """Room for the gradients of a scan, as in `ScanInputs`; empty where there is no such input.

    Those of B and C are sums over channels: float32 and contiguous whatever the dtype.
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    A_b: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    z: Tensor
    delta_bias: Tensor
    initial_state: Tensor

    @classmethod
    def empty(cls, inputs: ScanInputs) -> "Gradients":
        """Make room for the gradients of some inputs."""

        def like(x: Tensor | None) -> Tensor:
            return inputs.A.new_empty(0) if x is None else x.new_empty(x.shape)

        room = {name: like(getattr(inputs, name)) for name in cls._fields}
        maps = {name: inputs.A.new_empty(room[name].shape) for name in ("B", "C")}
        return cls(**(room | maps))


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
    _check_shape("A_b", inputs.A_b, (channels, states))
    wide = torch.float64 if u.dtype == torch.float64 else torch.float32
    B = _with_groups("B", inputs.B, u, states)
    C = _with_groups("C", inputs.C, u, states)
    groups = max(B.shape[2], C.shape[2])
    return ScanInputs(
        u=u,
        delta=inputs.delta.to(u.dtype),
        A=A.to(wide),
        A_b=_cast(inputs.A_b, wide),
        B=_match_groups("B", B, groups).to(u.dtype),
        C=_match_groups("C", C, groups).to(u.dtype),
        D=_cast(inputs.D, wide),
        z=_cast(inputs.z, u.dtype),
        delta_bias=_cast(inputs.delta_bias, wide),
        initial_state=_cast(inputs.initial_state, wide),
        lengths=_cast(inputs.lengths, torch.int64),
        softplus=inputs.softplus,
        reverse=inputs.reverse,
    )


def check_out(out: Tensor, inputs: ScanInputs) -> None:
    """Check where a result is to be written.

    Raises:
        ConfigError: it does not fit u, or a gradient is asked for.
    """
    _check_shape("out", out, tuple(inputs.u.shape))
    if out.dtype != inputs.u.dtype:
        raise ConfigError(f"out has dtype {out.dtype}; expected {inputs.u.dtype}, as u")
    if wants_gradient(inputs):
        raise ConfigError("out is given where a gradient is asked for; leave it out")


def wants_gradient(inputs: ScanInputs) -> bool:
    """Tell whether autograd will ask for the gradient of a scan."""
    return torch.is_grad_enabled() and any(
        isinstance(x, Tensor) and x.requires_grad for x in inputs
    )


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
    padding = padding_mask(u.shape[1], inputs.lengths)
    if padding is not None:
        padding = padding.unsqueeze(-1)
        u, delta = u.masked_fill(padding, 0), delta.masked_fill(padding, 0)
        B, C = (x.masked_fill(padding.unsqueeze(-1), 0) for x in (B, C))
        z = None if z is None else z.masked_fill(padding, 0)
    if inputs.delta_bias is not None:
        delta = delta + inputs.delta_bias
    if inputs.softplus:
        delta = softplus(delta)
    if padding is not None:
        delta = delta.masked_fill(padding, 0)
    skipped = None if inputs.D is None else inputs.D * u
    return StepInputs(delta, delta * u, B, C, skipped, None if z is None else silu(z))


def both_directions(
    scan_one_way: Callable[[ScanInputs], tuple[Tensor, Tensor]], inputs: ScanInputs
) -> tuple[Tensor, Tensor]:
    """Scan once, or in both directions and add.

    Args:
        scan_one_way: makes the outputs and the last state of inputs without A_b.
        inputs: checked.

    Returns:
        The outputs in u's dtype, and the last state of one scan; an empty one of two.
    """
    if inputs.A_b is None:
        return scan_one_way(inputs)
    wide = inputs._replace(u=inputs.u.to(inputs.A.dtype), A_b=None)
    forward, _ = scan_one_way(wide)
    backward, _ = scan_one_way(wide._replace(A=inputs.A_b, reverse=True))
    return (forward + backward).to(inputs.u.dtype), inputs.A.new_empty(0)


def written(results: tuple[Tensor, Tensor], out: Tensor | None) -> tuple[Tensor, Tensor]:
    """Copy the outputs of a scan to where they are wanted, if that is somewhere.

    Args:
        results: the outputs and the last state.
        out: (batch, tokens, channels), or None.

    Returns:
        The same, out in the place of the outputs.
    """
    y, last_state = results
    return (y if out is None else out.copy_(y)), last_state


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
