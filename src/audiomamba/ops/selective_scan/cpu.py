"""The selective scan on the compiled library, as PyTorch operators with explicit gradients.

One operator serves all forms; A_b makes it bidirectional. Only where a gradient will be asked for,
the forward operator saves states; the backward operator runs the rest again. Empty tensors stand
for results not asked for.

PyTorch caches compiled graphs by the operators' names and arguments. So all that the shapes of
their results depend on is an argument, and the version in the name changes with the rest.
"""

from typing import Any

import torch
from torch import Tensor

from audiomamba.ops import native
from audiomamba.ops.selective_scan import native_scan
from audiomamba.ops.selective_scan.inputs import (
    SCAN_SCHEMA,
    Gradients,
    ScanInputs,
    wants_gradient,
)
from audiomamba.ops.selective_scan.native_scan import (
    CHUNK_TOKENS,
    Traversal,
    new_saved_states,
)

__all__ = ["scan"]


def scan(
    inputs: ScanInputs, *, want_last_state: bool, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scan; returns the outputs and the last state, which is empty unless wanted.

    The outputs are written to out, which may be u or delta, if it is given: the library reads a row
    of a block of channels before it writes that row, and no other block.
    """
    *tensors, _, _ = inputs
    if out is not None:
        return out, _scan_to(out, inputs, want_last_state)
    untraced = native.is_untraced(*tensors)
    call: Any = _forward if untraced else _scan
    y, last_state, _ = call(*inputs, want_last_state, wants_gradient(inputs), CHUNK_TOKENS)
    return y, last_state


def _scan_to(out: Tensor, inputs: ScanInputs, want_last_state: bool) -> Tensor:
    """Write the outputs to out and return the last state."""
    rows = native.rows(out)
    *tensors, _, _ = inputs
    untraced = native.is_untraced(rows, *tensors)
    call: Any = _forward_into if untraced else _scan_into
    last_state: Tensor = call(rows, *inputs, want_last_state)
    if untraced and not rows.is_inference():
        torch.autograd.graph.increment_version(rows)  # else a graph that keeps it would not notice
    if rows is not out:
        out.copy_(rows)
    return last_state


def _forward(*given: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Scan: the outputs, the last state and the saved states."""
    inputs, (want_last_state, save, chunk_tokens) = ScanInputs.split(given)
    out, last_state, saved = _empty_results(*given)
    native_scan.forward(
        inputs,
        out,
        Traversal(chunk_tokens=chunk_tokens),
        last_state=last_state if want_last_state else None,
        saved=saved if save else None,
    )
    return out, last_state, saved


def _forward_into(out: Tensor, *given: Any) -> Tensor:
    """Scan and write the outputs to out: the last state."""
    inputs, (want_last_state,) = ScanInputs.split(given)
    last_state = _empty_last_state(inputs, want_last_state)
    native_scan.forward(inputs, out, last_state=last_state if want_last_state else None)
    return last_state


_scan = torch.library.custom_op(
    "audiomamba::selective_scan_v1",
    _forward,
    mutates_args=(),
    device_types="cpu",
    schema=f"({SCAN_SCHEMA}, bool want_last_state, bool save, int chunk_tokens) "
    "-> (Tensor, Tensor, Tensor)",
)
_scan_into = torch.library.custom_op(
    "audiomamba::selective_scan_into_v1",
    _forward_into,
    mutates_args=("out",),
    device_types="cpu",
    schema=f"(Tensor(a!) out, {SCAN_SCHEMA}, bool want_last_state) -> Tensor",
)


def _empty_last_state(inputs: ScanInputs, wanted: bool) -> Tensor:
    batch, _, channels = inputs.u.shape
    return inputs.A.new_empty((batch, channels, inputs.A.shape[1]) if wanted else (0,))


@_scan_into.register_fake
def _scan_into_fake(_out: Tensor, *given: Any) -> Tensor:
    inputs, (want_last_state,) = ScanInputs.split(given)
    return _empty_last_state(inputs, want_last_state)


@_scan.register_fake
def _empty_results(*given: Any) -> tuple[Tensor, Tensor, Tensor]:
    inputs, (want_last_state, save, chunk_tokens) = ScanInputs.split(given)
    return (
        inputs.u.new_empty(inputs.u.shape),
        _empty_last_state(inputs, want_last_state),
        new_saved_states(inputs.u, inputs.A, inputs.A_b, chunk_tokens)
        if save
        else inputs.A.new_empty(0),
    )


def _gradients(
    grad_out: Tensor, grad_last_state: Tensor | None, saved: Tensor, *given: Any
) -> list[Tensor]:
    """The gradients of a scan, in the order of `Gradients`."""
    inputs, (chunk_tokens,) = ScanInputs.split(given)
    traversal = Traversal(chunk_tokens=chunk_tokens)
    if saved.numel() == 0:  # the forward call did not know that this one would come
        saved = new_saved_states(inputs.u, inputs.A, inputs.A_b, chunk_tokens)
        native_scan.forward(inputs, inputs.u.new_empty(inputs.u.shape), traversal, saved=saved)
    grads = Gradients.empty(inputs)
    native_scan.backward(grad_out, saved, inputs, grads, traversal, grad_last_state=grad_last_state)
    return list(grads)


_scan_backward = torch.library.custom_op(
    "audiomamba::selective_scan_backward_v1",
    _gradients,
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor grad_out, Tensor? grad_last_state, Tensor saved, {SCAN_SCHEMA}, "
    "int chunk_tokens) -> Tensor[]",
)


@_scan_backward.register_fake
def _empty_gradients(
    _grad_out: Tensor, _grad_last_state: Tensor | None, _saved: Tensor, *given: Any
) -> list[Tensor]:
    return list(Gradients.empty(ScanInputs.split(given)[0]))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, softplus, reverse, want_last_state, _, chunk_tokens = inputs
    ctx.save_for_backward(output[2], *tensors)
    ctx.flags = (softplus, reverse, chunk_tokens)
    ctx.want_last_state = want_last_state


def _backward(
    ctx: Any, grad_out: Tensor, grad_last_state: Tensor, _: Tensor
) -> tuple[Tensor | None, ...]:
    saved, *tensors = ctx.saved_tensors
    of_state = grad_last_state if ctx.want_last_state else None
    grads = _scan_backward(grad_out, of_state, saved, *tensors, *ctx.flags)
    *differentiable, _ = tensors
    pairs = zip(grads, differentiable, strict=True)
    given = (None if x is None else grad.to(x.dtype) for grad, x in pairs)
    return (*given, *[None] * 6)  # lengths and the five flags


_scan.register_autograd(_backward, setup_context=_keep)
