"""Which backend runs an op: the choice, its override, and the reasons.

`reference` is plain PyTorch: any device, any floating dtype, slow, and the definition of right.
`torch` is plain PyTorch as well, arranged for speed; it runs where nothing better does.
`cpu` is the compiled library: CPU tensors in float32 or bfloat16.
`triton` is for GPUs: float32, bfloat16 or float16. With TRITON_INTERPRET=1 in the environment, set
before the first call, it runs on CPU tensors too, very slowly, to be tested.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

import torch

from audiomamba.errors import BackendError, UnknownNameError
from audiomamba.ops import gpu, native

__all__ = [
    "BackendName",
    "BackendStatus",
    "available_backends",
    "choose_backend",
    "explain_backends",
    "use_backend",
]

BackendName = Literal["reference", "torch", "cpu", "triton"]

BACKENDS: tuple[BackendName, ...] = ("reference", "torch", "cpu", "triton")
OPS = ("selective_scan", "bidirectional_selective_scan", "causal_conv1d", "add_rms_norm")
CPU_DTYPES = (torch.float32, torch.bfloat16)
GPU_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_forced: ContextVar[BackendName | None] = ContextVar("audiomamba_backend", default=None)


class BackendStatus(NamedTuple):
    """Whether one backend of one op can run here, and why.

    Attributes:
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
    return tuple(name for name in BACKENDS if _missing(name) is None)


def explain_backends() -> list[BackendStatus]:
    """Tell for every op and backend whether it can run here, and why.

    Returns:
        One entry per op and backend.
    """
    able = {
        "reference": "plain PyTorch, slow; any device and floating dtype",
        "torch": "plain PyTorch; any device and floating dtype",
        "cpu": "compiled, {}; CPU tensors in float32 or bfloat16",
        "triton": "Triton, {}; GPU tensors in float32, bfloat16 or float16",
    }
    found = {"cpu": native.instruction_set, "triton": gpu.name}
    missing = {name: _missing(name) for name in BACKENDS}
    return [
        BackendStatus(
            op,
            name,
            missing[name] is None,
            missing[name] or able[name].format(found[name]() if name in found else ""),
        )
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


def _choose(op: str, requested: str | None, device: str, dtype: torch.dtype) -> BackendName:
    name = _forced.get() if requested is None else _check_name(requested)
    if name is None:
        fast: BackendName = "cpu" if device in ("cpu", "meta") else "triton"
        return "torch" if _problem(fast, device, dtype) else fast
    problem = _problem(name, device, dtype)
    if problem is not None:
        raise BackendError(f"{op}: backend {name!r} cannot run this call: {problem}")
    return name


# What torch.compiler.assume_constant_result does, without its import of the whole compiler, which
# takes as long as that of torch itself.
_choose._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _problem(name: BackendName, device: str, dtype: torch.dtype) -> str | None:
    """Why a backend cannot run a call; None if it can."""
    if name in ("reference", "torch"):
        return None
    if name == "cpu" and device == "meta":  # nothing is computed: shapes need no library
        return None
    devices = ("cpu",) if name == "cpu" or gpu.interpreted() else ("cuda",)
    if device not in devices:
        return f"the tensors are on {device}; move them to {devices[0]} or use backend='torch'"
    dtypes = CPU_DTYPES if name == "cpu" else GPU_DTYPES
    if dtype not in dtypes:
        known = " or ".join(str(one).removeprefix("torch.") for one in dtypes)
        return f"the dtype is {dtype}; use {known}, or backend='torch'"
    return _missing(name)


def _missing(name: BackendName) -> str | None:
    """What a backend lacks on this machine; None if nothing."""
    if name == "cpu":
        return native.problem()
    return gpu.problem() if name == "triton" else None


def _check_name(name: str) -> BackendName:
    for known in BACKENDS:
        if name == known:
            return known
    raise UnknownNameError("backend", name, BACKENDS)
