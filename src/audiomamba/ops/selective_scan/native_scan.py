"""Calls of the compiled scan, forward and backward, which autograd does not see."""

from typing import NamedTuple

from torch import Tensor

from audiomamba.ops import native
from audiomamba.ops.interface import ELEMENTS, Scan, ScanGradient, Tensor3, Tensor4
from audiomamba.ops.selective_scan.inputs import Gradients, ScanInputs

__all__ = ["CHUNK_TOKENS", "Traversal", "backward", "forward", "new_saved_states"]

# A state is saved before every so many tokens, in the order of the scan. 16 and 32 are as fast; 64
# saves least: with 16 states per channel, a quarter of the memory of u in float32, per direction.
CHUNK_TOKENS = 64


class Traversal(NamedTuple):
    """How a scan walks over its tokens.

    Args:
        order: (tokens,) int32, contiguous, the token of each step; None for one after the other.
            Not with lengths.
        chunk_tokens: a state is saved before every so many tokens.
    """

    order: Tensor | None = None
    chunk_tokens: int = CHUNK_TOKENS


def new_saved_states(
    u: Tensor, A: Tensor, A_b: Tensor | None, chunk_tokens: int = CHUNK_TOKENS
) -> Tensor:
    """Make room for the states that a scan saves: as many for each of its channels, in a row."""
    batch, tokens, channels = u.shape
    n_chunks = (tokens + chunk_tokens - 1) // chunk_tokens
    n_scans = 1 if A_b is None else 2
    return A.new_empty(n_scans * batch * n_chunks * A.shape[1] * channels)


def forward(
    inputs: ScanInputs,
    out: Tensor,
    traversal: Traversal = Traversal(),  # noqa: B008  # immutable
    *,
    accumulate: bool = False,
    last_state: Tensor | None = None,
    saved: Tensor | None = None,
) -> None:
    """Scan.

    Args:
        inputs: the inputs.
        out: (batch, tokens, channels), rows contiguous, where the result is written; may be u or
            delta. The library reads a row of a block of channels before it writes that row.
        traversal: the way over the tokens.
        accumulate: add to what is in out.
        last_state: (batch, channels, states), where the last state is written.
        saved: new_saved_states(), where states are saved.
    """
    arguments, _alive = _described(inputs, traversal)
    arguments.accumulate = accumulate
    arguments.out = Tensor3.of(out)
    arguments.last_state = native.address(last_state)
    arguments.saved = native.address(saved)
    native.call("scan", arguments)


def backward(
    grad_out: Tensor,
    saved: Tensor,
    inputs: ScanInputs,
    grads: Gradients,
    traversal: Traversal = Traversal(),  # noqa: B008  # immutable
    *,
    accumulate: bool = False,
    grad_last_state: Tensor | None = None,
    out: Tensor | None = None,
) -> None:
    """Go back through a scan.

    Args:
        grad_out: (batch, tokens, channels).
        saved: the states that forward() saved.
        inputs: what it was given.
        grads: where the gradients are written; that of delta may replace delta.
        traversal: as for forward().
        accumulate: add to what is in the gradient of u.
        grad_last_state: (batch, channels, states); None for zeros.
        out: (batch, tokens, channels), where the result is written once more, which may be
            grad_out; None for nowhere.
    """
    arguments, _alive = _described(inputs, traversal)
    arguments.accumulate = accumulate
    arguments.saved = native.address(saved)
    arguments.out = Tensor3.of(out)
    grad_out = native.rows(grad_out)
    if grad_last_state is not None:
        grad_last_state = grad_last_state.contiguous()

    def address(gradient: Tensor, of: Tensor | None) -> int | None:
        return None if of is None else native.address(gradient)

    gradient = ScanGradient(
        scan=arguments,
        grad_out=Tensor3.of(grad_out),
        grad_last_state=native.address(grad_last_state),
        grad_u=Tensor3.of(grads.u),
        grad_delta=Tensor3.of(grads.delta),
        grad_z=Tensor3.of(None if inputs.z is None else grads.z),
        grad_B=native.address(grads.B),
        grad_C=native.address(grads.C),
        grad_A=native.address(grads.A),
        grad_A_b=address(grads.A_b, inputs.A_b),
        grad_D=address(grads.D, inputs.D),
        grad_delta_bias=address(grads.delta_bias, inputs.delta_bias),
        grad_initial_state=address(grads.initial_state, inputs.initial_state),
    )
    native.call("scan_gradient", gradient)


def _described(inputs: ScanInputs, traversal: Traversal) -> tuple[Scan, list[Tensor | None]]:
    """Describe the inputs to the library; gives also the tensors that must outlive its call."""
    u, delta, B, C = (native.rows(x) for x in (inputs.u, inputs.delta, inputs.B, inputs.C))
    z = None if inputs.z is None else native.rows(inputs.z)
    names = ("A", "A_b", "D", "delta_bias", "initial_state", "lengths")
    given = {name: getattr(inputs, name) for name in names} | {"order": traversal.order}
    dense = {name: None if x is None else x.contiguous() for name, x in given.items()}
    arguments = Scan(
        element=ELEMENTS[u.dtype],
        batch=u.shape[0],
        tokens=u.shape[1],
        channels=u.shape[2],
        groups=B.shape[2],
        states=B.shape[3],
        chunk_tokens=traversal.chunk_tokens,
        delta_softplus=inputs.softplus,
        reverse=inputs.reverse,
        u=Tensor3.of(u),
        delta=Tensor3.of(delta),
        z=Tensor3.of(z),
        B=Tensor4.of(B),
        C=Tensor4.of(C),
        **{name: native.address(x) for name, x in dense.items()},
    )
    return arguments, [u, delta, z, B, C, *dense.values()]
