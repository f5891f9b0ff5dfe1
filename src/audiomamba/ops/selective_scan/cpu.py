"""The selective scan on the compiled library, as PyTorch operators with explicit gradients.

One operator serves all forms; A_b makes it bidirectional. Only where a gradient will be asked for,
the forward operator saves the states that enter every CHUNK_TOKENS-th token, in the order of the
scan; the backward operator runs the rest again. Empty tensors stand for results not asked for.

PyTorch caches compiled graphs by the operators' names and arguments. So all that the shapes of
their results depend on is an argument, and the version in the name changes with the rest.
"""

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor

from audiomamba.ops import native
from audiomamba.ops.selective_scan.inputs import ScanInputs, empty_gradients

__all__ = [
    "Gradients",
    "bidirectional_scan",
    "keep_scan",
    "saved_states",
    "scan",
    "scan_gradients",
    "scan_into",
]

# 16 and 32 are as fast; 64 saves least. The saved states of 16 states per channel then take a
# quarter of the memory of u in float32, per direction.
CHUNK_TOKENS = 64


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
    last_state: Tensor = _scan_into(
        place, u, delta, A, A_b, *others, softplus, reverse, want_last_state
    )
    if place is not out:
        out.copy_(place)
    return last_state


def keep_scan(inputs: ScanInputs, A_b: Tensor | None, saved: Tensor, *, reverse: bool) -> None:
    """Scan, not seen by autograd.

    Args:
        inputs: the inputs; the result replaces u.
        A_b: (channels, states) of a second direction, or None.
        saved: room for what scan_gradients() goes on from, as saved_states() makes it.
        reverse: as in selective_scan.
    """
    tensors = _laid_out(*_tensors(inputs, A_b))
    arguments = _arguments(tensors, inputs.delta_softplus, reverse, CHUNK_TOKENS)
    arguments.out = native.Tensor3.of(inputs.u)
    arguments.saved = native.address(saved)
    native.call("scan", arguments)


def saved_states(u: Tensor, A: Tensor, A_b: Tensor | None) -> Tensor:
    """Make room for the states that a scan keeps: so many for each of its channels, in a row."""
    saved: Tensor = _scan_fake(u, u, A, A_b, False, True, CHUNK_TOKENS)[2]
    return saved


class Gradients(NamedTuple):
    """The gradients of a scan, as in `ScanInputs`; empty where there is no such input."""

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


def scan_gradients(
    grad_out: Tensor,
    saved: Tensor,
    inputs: ScanInputs,
    A_b: Tensor | None,
    *,
    reverse: bool,
    grad_u: Tensor,
    grad_z: Tensor,
    out: Tensor | None,
) -> Gradients:
    """Go back through a scan that keep_scan() ran; not seen by autograd.

    Args:
        grad_out: (batch, tokens, channels).
        saved: what keep_scan() kept.
        inputs: what it was given; the gradient of delta replaces delta.
        A_b: the same.
        reverse: the same.
        grad_u: (batch, tokens, channels), where the gradient of u is written.
        grad_z: the same for z.
        out: where the scan's result is written once more, which may be grad_out; None for nowhere.

    Returns:
        The gradients.
    """
    tensors = _laid_out(*_tensors(inputs, A_b))
    grads = Gradients(*empty_gradients(*tensors[:10]))
    grads = grads._replace(u=grad_u, delta=tensors[1], z=grad_z)
    arguments = _arguments(tensors, inputs.delta_softplus, reverse, CHUNK_TOKENS)
    arguments.saved = native.address(saved)
    arguments.out = native.Tensor3.of(out)
    _go_back(arguments, tensors, grad_out, None, grads)
    return grads


def _tensors(inputs: ScanInputs, A_b: Tensor | None) -> tuple[Any, ...]:
    """The tensors in the order of the operators' arguments."""
    u, delta, A, *others, _ = inputs
    return (u, delta, A, A_b, *others)


def _run(
    inputs: ScanInputs, A_b: Tensor | None, reverse: bool, want_last_state: bool
) -> tuple[Tensor, Tensor, Tensor]:
    u, delta, A, *others, softplus = inputs
    tensors = (u, delta, A, A_b, *others)
    save = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)
    flags = (softplus, reverse, want_last_state, save, CHUNK_TOKENS)
    out, last_state, saved = _scan(*tensors, *flags)
    return out, last_state, saved


class _Scan(ctypes.Structure):
    """AudiomambaScan of csrc/interface.h."""

    _fields_ = (
        ("element", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("tokens", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("groups", ctypes.c_int64),
        ("states", ctypes.c_int64),
        ("chunk_tokens", ctypes.c_int64),
        ("delta_softplus", ctypes.c_int64),
        ("reverse", ctypes.c_int64),
        ("u", native.Tensor3),
        ("delta", native.Tensor3),
        ("z", native.Tensor3),
        ("B", native.Tensor4),
        ("C", native.Tensor4),
        ("A", ctypes.c_void_p),
        ("A_b", ctypes.c_void_p),
        ("D", ctypes.c_void_p),
        ("delta_bias", ctypes.c_void_p),
        ("initial_state", ctypes.c_void_p),
        ("lengths", ctypes.c_void_p),
        ("out", native.Tensor3),
        ("last_state", ctypes.c_void_p),
        ("saved", ctypes.c_void_p),
    )


class _ScanGradient(ctypes.Structure):
    """AudiomambaScanGradient of csrc/interface.h."""

    _fields_ = (
        ("scan", _Scan),
        ("grad_out", native.Tensor3),
        ("grad_last_state", ctypes.c_void_p),
        ("grad_u", native.Tensor3),
        ("grad_delta", native.Tensor3),
        ("grad_z", native.Tensor3),
        ("grad_B", ctypes.c_void_p),
        ("grad_C", ctypes.c_void_p),
        ("grad_A", ctypes.c_void_p),
        ("grad_A_b", ctypes.c_void_p),
        ("grad_D", ctypes.c_void_p),
        ("grad_delta_bias", ctypes.c_void_p),
        ("grad_initial_state", ctypes.c_void_p),
    )


@torch.library.custom_op("audiomamba::selective_scan_v1", mutates_args=(), device_types="cpu")
def _scan(
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
    tensors = _laid_out(u, delta, A, A_b, B, C, D, z, delta_bias, initial_state, lengths)
    arguments = _arguments(tensors, softplus, reverse, chunk_tokens)
    out, last_state, saved = _scan_fake(*tensors, want_last_state, save, chunk_tokens)
    arguments.out = native.Tensor3.of(out)
    arguments.last_state = native.address(last_state) if want_last_state else None
    arguments.saved = native.address(saved) if save else None
    native.call("scan", arguments)
    return out, last_state, saved


@torch.library.custom_op(
    "audiomamba::selective_scan_into_v1", mutates_args=("out",), device_types="cpu"
)
def _scan_into(
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
    tensors = _laid_out(u, delta, A, A_b, B, C, D, z, delta_bias, initial_state, lengths)
    arguments = _arguments(tensors, softplus, reverse, CHUNK_TOKENS)
    last_state: Tensor = _scan_into_fake(out, u, delta, A, want_last_state)
    arguments.out = native.Tensor3.of(out)
    arguments.last_state = native.address(last_state) if want_last_state else None
    native.call("scan", arguments)
    return last_state


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
    batch, tokens, channels = u.shape
    states = A.shape[1]
    chunks = (tokens + chunk_tokens - 1) // chunk_tokens
    scans = 1 if A_b is None else 2
    return (
        u.new_empty((batch, tokens, channels)),
        A.new_empty((batch, channels, states) if want_last_state else (0,)),
        A.new_empty((scans * batch * chunks * states * channels if save else 0,)),
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
    tensors = _laid_out(u, delta, A, A_b, B, C, D, z, delta_bias, initial_state, lengths)
    if saved.numel() == 0:  # the forward call did not know that this one would come
        _, _, saved = _scan(*tensors, softplus, reverse, False, True, chunk_tokens)
    arguments = _arguments(tensors, softplus, reverse, chunk_tokens)
    arguments.saved = native.address(saved)
    grads = empty_gradients(*tensors[:10])
    _go_back(arguments, tensors, grad_out, grad_last_state, Gradients(*grads))
    return grads


@_scan_backward.register_fake
def _scan_backward_fake(
    _grad_out: Tensor, _grad_last_state: Tensor | None, _saved: Tensor, *inputs: Any
) -> list[Tensor]:
    return empty_gradients(*inputs[:10])


def _go_back(
    arguments: _Scan,
    tensors: tuple[Any, ...],
    grad_out: Tensor,
    grad_last_state: Tensor | None,
    grads: Gradients,
) -> None:
    """Fill in the gradients of the scan that the arguments describe."""
    _, _, _, A_b, _, _, D, z, delta_bias, initial_state, _ = tensors
    grad_out = native.rows(grad_out)
    if grad_last_state is not None:
        grad_last_state = grad_last_state.contiguous()
    gradient = _ScanGradient(
        scan=arguments,
        grad_out=native.Tensor3.of(grad_out),
        grad_last_state=native.address(grad_last_state),
        grad_u=native.Tensor3.of(grads.u),
        grad_delta=native.Tensor3.of(grads.delta),
        grad_z=native.Tensor3.of(None if z is None else grads.z),
        grad_B=native.address(grads.B),
        grad_C=native.address(grads.C),
        grad_A=native.address(grads.A),
        grad_A_b=None if A_b is None else native.address(grads.A_b),
        grad_D=None if D is None else native.address(grads.D),
        grad_delta_bias=None if delta_bias is None else native.address(grads.delta_bias),
        grad_initial_state=None if initial_state is None else native.address(grads.initial_state),
    )
    native.call("scan_gradient", gradient)


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


def _laid_out(u: Tensor, delta: Tensor, *others: Tensor | None) -> tuple[Any, ...]:
    """Copy what is not laid out as the library needs it: contiguous rows, contiguous weights."""
    A, A_b, B, C, D, z, *rest = others
    rows = [None if x is None else native.rows(x) for x in (u, delta, B, C, z)]
    weights = [None if x is None else x.contiguous() for x in (A, A_b, D, *rest)]
    return (*rows[:2], *weights[:2], *rows[2:4], weights[2], rows[4], *weights[3:])


def _arguments(tensors: tuple[Any, ...], softplus: bool, reverse: bool, chunk_tokens: int) -> _Scan:
    """Describe the inputs to the library; they must outlive its call."""
    u, delta, A, A_b, B, C, D, z, delta_bias, initial_state, lengths = tensors
    return _Scan(
        element=native.ELEMENTS[u.dtype],
        batch=u.shape[0],
        tokens=u.shape[1],
        channels=u.shape[2],
        groups=B.shape[2],
        states=B.shape[3],
        chunk_tokens=chunk_tokens,
        delta_softplus=softplus,
        reverse=reverse,
        u=native.Tensor3.of(u),
        delta=native.Tensor3.of(delta),
        z=native.Tensor3.of(z),
        B=native.Tensor4.of(B),
        C=native.Tensor4.of(C),
        A=native.address(A),
        A_b=native.address(A_b),
        D=native.address(D),
        delta_bias=native.address(delta_bias),
        initial_state=native.address(initial_state),
        lengths=native.address(lengths),
    )
