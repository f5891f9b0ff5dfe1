"""The selective scan on the compiled library, as PyTorch operators with explicit gradients.

One operator serves all forms; A_b makes it bidirectional. The forward operator saves the states that enter every
CHUNK_TOKENS-th token, in the order of the scan, only where a gradient will be asked for; the backward operator runs
the rest again. Empty tensors stand for results that were not asked for.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor

from audiomamba.ops import native
from audiomamba.ops.selective_scan.inputs import ScanInputs

__all__ = ["bidirectional_scan", "scan"]

CHUNK_TOKENS = 32


def scan(inputs: ScanInputs, *, reverse: bool, want_last_state: bool) -> tuple[Tensor, Tensor]:
    """Scan in one direction; the last state is empty unless wanted."""
    out, last_state, _ = _run(inputs, None, reverse, want_last_state)
    return out, last_state


def bidirectional_scan(inputs: ScanInputs, A_b: Tensor) -> Tensor:
    """Scan in both directions, with A and with A_b, and add."""
    out, _, _ = _run(inputs, A_b, False, False)
    return out


def _run(
    inputs: ScanInputs, A_b: Tensor | None, reverse: bool, want_last_state: bool
) -> tuple[Tensor, Tensor, Tensor]:
    *tensors, delta_softplus = inputs
    needs_gradient = torch.is_grad_enabled() and any(
        x is not None and x.requires_grad for x in (*tensors, A_b)
    )
    u, delta, A, B, C, D, z, delta_bias, initial_state, lengths = tensors
    flags = (delta_softplus, reverse, want_last_state, needs_gradient)
    return _scan(u, delta, A, A_b, B, C, D, z, delta_bias, initial_state, lengths, *flags)


class _Scan(ctypes.Structure):
    """AudiomambaScan of csrc/interface.h."""

    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in (
                "element",
                "batch",
                "tokens",
                "channels",
                "groups",
                "states",
                "chunk_tokens",
                "delta_softplus",
                "reverse",
            )
        ),
        *((name, native.Tensor3) for name in ("u", "delta", "z")),
        *((name, native.Tensor4) for name in ("B", "C")),
        *(
            (name, ctypes.c_void_p)
            for name in ("A", "A_b", "D", "delta_bias", "initial_state", "lengths")
        ),
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
        *((name, native.Tensor3) for name in ("grad_u", "grad_delta", "grad_z")),
        *(
            (f"grad_{name}", ctypes.c_void_p)
            for name in ("B", "C", "A", "A_b", "D", "delta_bias", "initial_state")
        ),
    )


def _arguments(
    tensors: tuple[Tensor | None, ...], delta_softplus: bool, reverse: bool
) -> tuple[_Scan, list[Tensor | None]]:
    """Describe the inputs to the library; returns also the tensors that must outlive the call."""
    u, delta, A, A_b, B, C, D, z, delta_bias, initial_state, lengths = tensors
    assert u is not None
    moving = [None if x is None else native.rows(x) for x in (u, delta, z, B, C)]
    fixed = [
        None if x is None else x.contiguous()
        for x in (A, A_b, D, delta_bias, initial_state, lengths)
    ]
    names = ("A", "A_b", "D", "delta_bias", "initial_state", "lengths")
    arguments = _Scan(
        element=native.ELEMENTS[u.dtype],
        batch=u.shape[0],
        tokens=u.shape[1],
        channels=u.shape[2],
        groups=moving[3].shape[2],
        states=moving[3].shape[3],
        chunk_tokens=CHUNK_TOKENS,
        delta_softplus=delta_softplus,
        reverse=reverse,
        **{name: native.Tensor3.of(x) for name, x in zip(("u", "delta", "z"), moving[:3])},
        **{name: native.Tensor4.of(x) for name, x in zip(("B", "C"), moving[3:])},
        **{name: native.address(x) for name, x in zip(names, fixed)},
    )
    return arguments, moving + fixed


def _result_shapes(u: Tensor, A: Tensor, A_b: Tensor | None, want_last_state: bool, save: bool):
    batch, tokens, channels = u.shape
    states = A.shape[1]
    chunks = (tokens + CHUNK_TOKENS - 1) // CHUNK_TOKENS
    scans = 1 if A_b is None else 2
    return (
        (batch, tokens, channels),
        (batch, channels, states) if want_last_state else (0,),
        (scans * batch * chunks * states * channels if save else 0,),
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
    delta_softplus: bool,
    reverse: bool,
    want_last_state: bool,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    tensors = (u, delta, A, A_b, B, C, D, z, delta_bias, initial_state, lengths)
    arguments, alive = _arguments(tensors, delta_softplus, reverse)
    out, last_state, saved = _scan_fake(*tensors, delta_softplus, reverse, want_last_state, save)
    arguments.out = native.Tensor3.of(out)
    arguments.last_state = native.address(last_state) if want_last_state else None
    arguments.saved = native.address(saved) if save else None
    native.call("scan", arguments)
    return out, last_state, saved


@_scan.register_fake
def _scan_fake(
    u,
    delta,
    A,
    A_b,
    B,
    C,
    D,
    z,
    delta_bias,
    initial_state,
    lengths,
    delta_softplus,
    reverse,
    want_last_state,
    save,
):
    shapes = _result_shapes(u, A, A_b, want_last_state, save)
    return u.new_empty(shapes[0]), A.new_empty(shapes[1]), A.new_empty(shapes[2])


@torch.library.custom_op(
    "audiomamba::selective_scan_backward_v1", mutates_args=(), device_types="cpu"
)
def _scan_backward(
    grad_out: Tensor,
    grad_last_state: Tensor | None,
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
    saved: Tensor,
    delta_softplus: bool,
    reverse: bool,
) -> list[Tensor]:
    tensors = (u, delta, A, A_b, B, C, D, z, delta_bias, initial_state, lengths)
    if saved.numel() == 0:
        _, _, saved = _scan(*tensors, delta_softplus, reverse, False, True)
    arguments, alive = _arguments(tensors, delta_softplus, reverse)
    arguments.saved = native.address(saved)
    grad_out = native.rows(grad_out)
    if grad_last_state is not None:
        grad_last_state = grad_last_state.contiguous()
    grads = _scan_backward_fake(grad_out, grad_last_state, *tensors, saved, delta_softplus, reverse)
    names = ("u", "delta", "A", "A_b", "B", "C", "D", "z", "delta_bias", "initial_state")
    described = {
        f"grad_{name}": native.Tensor3.of(grad) if name in ("u", "delta", "z") else grad.data_ptr()
        for name, grad, x in zip(names, grads, tensors)
        if x is not None
    }
    gradient = _ScanGradient(
        scan=arguments,
        grad_out=native.Tensor3.of(grad_out),
        grad_last_state=native.address(grad_last_state),
        **described,
    )
    native.call("scan_gradient", gradient)
    return grads


@_scan_backward.register_fake
def _scan_backward_fake(
    grad_out,
    grad_last_state,
    u,
    delta,
    A,
    A_b,
    B,
    C,
    D,
    z,
    delta_bias,
    initial_state,
    lengths,
    saved,
    delta_softplus,
    reverse,
):
    def like(x, dtype=None):
        return A.new_empty(0) if x is None else x.new_empty(x.shape, dtype=dtype)

    return [
        like(u),
        like(delta),
        like(A),
        like(A_b),
        like(B, torch.float32),
        like(C, torch.float32),
        like(D),
        like(z),
        like(delta_bias),
        like(initial_state),
    ]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, delta_softplus, reverse, want_last_state, _ = inputs
    ctx.save_for_backward(*tensors, output[2])
    ctx.flags = (delta_softplus, reverse)
    ctx.want_last_state = want_last_state


def _backward(
    ctx: Any, grad_out: Tensor, grad_last_state: Tensor, _: Tensor
) -> tuple[Tensor | None, ...]:
    tensors = ctx.saved_tensors
    grads = _scan_backward(
        grad_out, grad_last_state if ctx.want_last_state else None, *tensors, *ctx.flags
    )
    given = [grad.to(x.dtype) if x is not None else None for grad, x in zip(grads, tensors)]
    return (*given, None, None, None, None, None)


_scan.register_autograd(_backward, setup_context=_setup_context)
