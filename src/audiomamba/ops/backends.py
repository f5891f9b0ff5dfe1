"""Which backend runs an op: the choice, its override, and the reasons.

`reference` is plain PyTorch: any device, any floating dtype, slow, and the definition of right.
`torch` is plain PyTorch as well, arranged for speed; it runs where nothing better does.
`cpu` is the compiled library: CPU tensors in float32 or bfloat16.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

import torch

from audiomamba.errors import BackendError, UnknownNameError
from audiomamba.ops import native

__all__ = [
    "BackendName",
    "BackendStatus",
    "available_backends",
    "choose_backend",
    "explain_backends",
    "use_backend",
]

BackendName = Literal["reference", "torch", "cpu"]

BACKENDS: tuple[BackendName, ...] = ("reference", "torch", "cpu")
OPS = ("selective_scan", "bidirectional_selective_scan", "causal_conv1d", "add_rms_norm")
CPU_DTYPES = (torch.float32, torch.bfloat16)

_forced: ContextVar[BackendName | None] = ContextVar("audiomamba_backend", default=None)


class BackendStatus(NamedTuple):
    """Whether one backend of one op can run here, and why.

    Args:
        op: the op's public name.
        backend: the backend's name.
        available: whether the backend can run on this machine.
        reason: one line: what it runs on, or what is missing.
    """

    op: str
    backend: BackendName
    available: bool
    reason: str


@contextmanager
def use_backend(name: BackendName) -> Iterator[None]:
    """Run every op called inside the `with` block on one backend.

    A call's own `backend=` argument wins. A compiled graph keeps the backend it was traced with.

    Args:
        name: a backend's name.

    Raises:
        UnknownNameError: no backend has this name.
    """
    _check_name(name)
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def available_backends() -> tuple[BackendName, ...]:
    """Name the backends that can run on this machine.

    Returns:
        The names, the definition first, the fastest last.
    """
    return tuple(name for name in BACKENDS if name != "cpu" or native.problem() is None)


def explain_backends() -> list[BackendStatus]:
    """Tell for every op and backend whether it can run here, and why.

    Returns:
        One entry per op and backend.
    """
    problem = native.problem()
    cpu = problem or f"compiled, {native.instruction_set()}; CPU tensors in float32 or bfloat16"
    reasons = {
        "reference": "plain PyTorch, slow; any device and floating dtype",
        "torch": "plain PyTorch; any device and floating dtype",
        "cpu": cpu,
    }
    return [
        BackendStatus(op, name, name != "cpu" or problem is None, reasons[name])
        for op in OPS
        for name in BACKENDS
    ]


def choose_backend(op: str, requested: str | None, tensor: torch.Tensor) -> BackendName:
    """Pick the backend of one call.

    Args:
        op: the op's name, for the error.
        requested: the call's `backend=` argument.
        tensor: the call's main input; its device and dtype decide.

    Returns:
        The backend's name.

    Raises:
        UnknownNameError: no backend has the requested name.
        BackendError: the requested backend cannot run this call.
    """
    name: BackendName = _choose(op, requested, tensor.device.type, tensor.dtype)
    return name


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _choose(op: str, requested: str | None, device: str, dtype: torch.dtype) -> BackendName:
    name = _forced.get() if requested is None else _check_name(requested)
    if name in ("reference", "torch"):
        return name
    problem = _cpu_problem(device, dtype)
    if problem is None:
        return "cpu"
    if name is None:
        return "torch"
    raise BackendError(f"{op}: backend 'cpu' cannot run this call: {problem}")


def _cpu_problem(device: str, dtype: torch.dtype) -> str | None:
    if device == "meta":  # nothing is computed: the shapes need no library
        return None
    if device != "cpu":
        return f"the tensors are on {device}; move them to the CPU or use backend='torch'"
    if dtype not in CPU_DTYPES:
        return f"the dtype is {dtype}; use float32 or bfloat16, or backend='reference'"
    return native.problem()


def _check_name(name: str) -> BackendName:
    for known in BACKENDS:
        if name == known:
            return known
    raise UnknownNameError("backend", name, BACKENDS)
