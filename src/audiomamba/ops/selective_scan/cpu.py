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
from audiomamba.ops.selective_scan.inputs import ScanInputs, empty_gradients
from audiomamba.ops.selective_scan.native_scan import (
    CHUNK_TOKENS,
    Gradients,
    Path,
    go_back,
    room_for_states,
    run,
)

__all__ = ["bidirectional_scan", "scan", "scan_into"]


def scan(inputs: ScanInputs, *, reverse: bool, want_last_state: bool) -> tuple[Tensor, Tensor]:
    """Scan in one direction; the last state is empty unless wanted."""
    out, last_state, _ = _run(inputs, None, reverse, want_last_state)
    return out, last_state


def bidirectional_scan(inputs: ScanInputs, A_b: Tensor) -> Tensor:
    """Scan in both directions, with A and with A_b, and add."""
    out, _, _ = _run(inputs, A_b, reverse=False, want_last_state=False)
    return out


def scan_into(
    out: Tensor,
    inputs: ScanInputs,
    A_b: Tensor | None,
    reverse: bool = False,
    want_last_state: bool = False,
) -> Tensor:
    """Scan without gradients and write the result to out, which may be u or delta.

    The library reads a row of a block of channels before it writes that row, and no other block.
    """
    u, delta, A, *others, softplus = inputs
    place = native.rows(out)
    tensors = (place, u, delta, A, A_b, *others)
    direct = native.seen_by_none(*tensors)
    call: Any = _run_into if direct else _scan_into
    last_state: Tensor = call(*tensors, softplus, reverse, want_last_state)
    if direct and not place.is_inference():
        torch.autograd.graph.increment_version(place)  # else a graph that keeps it would not notice
    if place is not out:
        out.copy_(place)
    return last_state


def _run(
    inputs: ScanInputs, A_b: Tensor | None, reverse: bool, want_last_state: bool
) -> tuple[Tensor, Tensor, Tensor]:
    u, delta, A, *others, softplus = inputs
    tensors = (u, delta, A, A_b, *others)
    save = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)
    flags = (softplus, reverse, want_last_state, save, CHUNK_TOKENS)
    call: Any = _run_new if native.seen_by_none(*tensors) else _scan
    out, last_state, saved = call(*tensors, *flags)
    return out, last_state, saved


def _run_new(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    A_b: Tensor | None,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    softplus: bool,
    reverse: bool,
    want_last_state: bool,
    save: bool,
    chunk_tokens: int,
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias, initial_state, lengths, softplus)
    out, last_state, saved = _scan_fake(u, delta, A, A_b, want_last_state, save, chunk_tokens)
    run(
        inputs,
        Path(reverse, A_b, None, chunk_tokens),
        out,
        last_state=last_state if want_last_state else None,
        saved=saved if save else None,
    )
    return out, last_state, saved


def _run_into(
    out: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    A_b: Tensor | None,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    softplus: bool,
    reverse: bool,
    want_last_state: bool,
) -> Tensor:
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias, initial_state, lengths, softplus)
    last_state: Tensor = _scan_into_fake(out, u, delta, A, want_last_state)
    run(inputs, Path(reverse, A_b), out, last_state=last_state if want_last_state else None)
    return last_state


_scan = torch.library.custom_op(
    "audiomamba::selective_scan_v1", _run_new, mutates_args=(), device_types="cpu"
)
_scan_into = torch.library.custom_op(
    "audiomamba::selective_scan_into_v1", _run_into, mutates_args=("out",), device_types="cpu"
)


@_scan_into.register_fake
def _scan_into_fake(_out: Tensor, u: Tensor, _delta: Tensor, A: Tensor, *rest: Any) -> Tensor:
    batch, _, channels = u.shape
    last_state: Tensor = A.new_empty((batch, channels, A.shape[1]) if rest[-1] else (0,))
    return last_state


@_scan.register_fake
def _scan_fake(
    u: Tensor, _delta: Tensor, A: Tensor, A_b: Tensor | None, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    *_, want_last_state, save, chunk_tokens = rest
    batch, _, channels = u.shape
    path = Path(A_b=A_b, chunk_tokens=chunk_tokens)
    return (
        u.new_empty(u.shape),
        A.new_empty((batch, channels, A.shape[1]) if want_last_state else (0,)),
        room_for_states(u, A, path) if save else A.new_empty(0),
    )


@torch.library.custom_op(
    "audiomamba::selective_scan_backward_v1", mutates_args=(), device_types="cpu"
)
def _scan_backward(
    grad_out: Tensor,
    grad_last_state: Tensor | None,
    saved: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    A_b: Tensor | None,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    softplus: bool,
    reverse: bool,
    chunk_tokens: int,
) -> list[Tensor]:
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias, initial_state, lengths, softplus)
    path = Path(reverse, A_b, None, chunk_tokens)
    if saved.numel() == 0:  # the forward call did not know that this one would come
        saved = room_for_states(u, A, path)
        run(inputs, path, u.new_empty(u.shape), saved=saved)
    grads = Gradients.of(inputs, A_b)
    go_back(grad_out, saved, inputs, path, grads, grad_last_state=grad_last_state)
    return list(grads)


@_scan_backward.register_fake
def _scan_backward_fake(
    _grad_out: Tensor, _grad_last_state: Tensor | None, _saved: Tensor, *inputs: Any
) -> list[Tensor]:
    return empty_gradients(*inputs[:10])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
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


_scan.register_autograd(_backward, setup_context=_setup_context)
