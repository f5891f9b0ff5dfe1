"""Which backend runs an op: the backends, which module of which op is theirs, and the choice.

`reference` is plain PyTorch: any device, any floating dtype, slow, and the definition of right.
`torch` is plain PyTorch as well, arranged for speed; it runs where nothing better does.
`cpu` is the compiled library: CPU tensors in float32 or bfloat16.
`triton` is for GPUs: float32, bfloat16 or float16. With TRITON_INTERPRET=1 in the environment, set
before the first call, it runs on CPU tensors too, very slowly, to be tested.

A new backend is a record in BACKENDS, a column in MODULES, and a module for each op that it has.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import torch

from audiomamba.errors import BackendError, UnknownNameError
from audiomamba.ops import gpu, native

__all__ = [
    "BACKENDS",
    "MODULES",
    "Backend",
    "BackendStatus",
    "available_backends",
    "choose_backend",
    "explain_backends",
    "implementation",
    "load_modules",
    "use_backend",
]


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One way to compute the ops.

    Args:
        name: as it is asked for.
        describe: tells in one line what it runs on; called only where there is no problem.
        problem: tells in one line why it cannot run on this machine, and what to do; None if it
            can.
        devices: types of device whose tensors it takes, and for which it is picked; none for any.
            On "meta", where nothing is computed, it needs nothing of the machine.
        dtypes: which it takes; none for any floating dtype.
        interpreted: whether it runs on CPU tensors now instead, where it is asked for by name.
        imported_at_use: whether its modules are imported at their first use only.
        only_named: whether it runs only where it is asked for by name.
    """

    name: str
    describe: Callable[[], str]
    problem: Callable[[], str | None] = lambda: None
    devices: tuple[str, ...] = ()
    dtypes: tuple[torch.dtype, ...] = ()
    interpreted: Callable[[], bool] = lambda: False
    imported_at_use: bool = False
    only_named: bool = False

    def problem_with(self, device: str, dtype: torch.dtype) -> str | None:
        """Tell why it cannot run a call.

        Args:
            device: type of the device of the call's tensors.
            dtype: of the call's main input.

        Returns:
            One line; None if it can.
        """
        devices = ("cpu",) if self.interpreted() else self.devices
        if devices and device not in devices:
            return f"the tensors are on {device}; move them to {devices[0]} or use backend='torch'"
        if device == "meta":
            return None
        if self.dtypes and dtype not in self.dtypes:
            known = " or ".join(str(one).removeprefix("torch.") for one in self.dtypes)
            return f"the dtype is {dtype}; use {known}, or backend='torch'"
        return self.problem()


def _not_exporting() -> str | None:
    exporting = torch.compiler.is_compiling()
    return None if exporting else "it makes graphs for audiomamba.export(); use it while exporting"


# The definition first, the fastest last: a call gets the last that can run it.
BACKENDS: Mapping[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend(
            name="reference",
            describe=lambda: "plain PyTorch, slow; any device and floating dtype",
        ),
        Backend(
            name="torch",
            describe=lambda: "plain PyTorch; any device and floating dtype",
        ),
        Backend(
            name="cpu",
            describe=lambda: (
                f"compiled, {native.instruction_set()}; CPU tensors in float32 or bfloat16"
            ),
            problem=native.problem,
            devices=("cpu", "meta"),
            dtypes=(torch.float32, torch.bfloat16),
        ),
        Backend(
            name="triton",
            describe=lambda: f"Triton, {gpu.name()}; GPU tensors in float32, bfloat16 or float16",
            problem=gpu.problem,
            devices=("cuda",),
            dtypes=(torch.float32, torch.bfloat16, torch.float16),
            interpreted=gpu.interpreted,
            imported_at_use=True,
        ),
        Backend(
            name="export",
            describe=lambda: "operators that other runtimes have; while a graph is exported",
            problem=_not_exporting,
            imported_at_use=True,
            only_named=True,
        ),
    )
}

# The module of each op and backend, in this package, in the order of BACKENDS. Those of one op have
# the same functions.
_SCANS = {
    "reference": "selective_scan.reference",
    "torch": "selective_scan.torch_chunked",
    "cpu": "selective_scan.cpu",
    "triton": "selective_scan.triton",
    "export": "selective_scan.export",
}
MODULES: dict[str, dict[str, str]] = {
    "selective_scan": _SCANS,
    "bidirectional_selective_scan": _SCANS,
    "cross_selective_scan": {
        "reference": "cross_scan.grouped",
        "torch": "cross_scan.grouped",
        "cpu": "cross_scan.cpu",
        "triton": "cross_scan.grouped",
        "export": "cross_scan.grouped",
    },
    "causal_conv1d": {
        "reference": "causal_conv1d.reference",
        "torch": "causal_conv1d.reference",
        "cpu": "causal_conv1d.cpu",
        "triton": "causal_conv1d.triton",
        "export": "causal_conv1d.export",
    },
    "add_rms_norm": {
        "reference": "add_rms_norm.reference",
        "torch": "add_rms_norm.reference",
        "cpu": "add_rms_norm.cpu",
        "triton": "add_rms_norm.triton",
        "export": "add_rms_norm.reference",
    },
}

_forced: ContextVar[str | None] = ContextVar("audiomamba_backend", default=None)
_loaded: dict[str, dict[str, ModuleType]] = {op: {} for op in MODULES}


class BackendStatus(NamedTuple):
    """Whether one backend of one op can run here, and why.

    Attributes:
        op: the op's public name.
        backend: the backend's name.
        available: whether the backend can run on this machine.
        reason: one line: what it runs on, or what is missing.

    Examples:
        >>> from audiomamba.ops import explain_backends
        >>> for status in explain_backends():
        ...     if status.op == "selective_scan" and status.backend == "reference":
        ...         print(status.available, status.reason)
        True plain PyTorch, slow; any device and floating dtype
    """

    op: str
    backend: str
    available: bool
    reason: str


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run every op called inside the `with` block on one backend.

    A call's own `backend=` argument wins. A compiled graph keeps the backend it was traced with.

    Args:
        name: a backend's name.

    Raises:
        UnknownNameError: no backend has this name.

    Examples:
        >>> from audiomamba import ops
        >>> with ops.use_backend("reference"):
        ...     normed, _ = ops.add_rms_norm(torch.ones(2, 3), None, torch.ones(3))
    """
    token = _forced.set(_named(name).name)
    try:
        yield
    finally:
        _forced.reset(token)


def available_backends() -> tuple[str, ...]:
    """Name the backends that can run on this machine.

    Returns:
        The names, the definition first, the fastest last.

    Examples:
        >>> available_backends()[:2]
        ('reference', 'torch')
    """
    return tuple(name for name, backend in BACKENDS.items() if backend.problem() is None)


def explain_backends() -> list[BackendStatus]:
    """Tell for every op and backend whether it can run here, and why.

    Returns:
        One entry per op and backend.

    Examples:
        >>> explain_backends()[0].reason
        'plain PyTorch, slow; any device and floating dtype'
    """
    problems = {name: backend.problem() for name, backend in BACKENDS.items()}
    reasons = {name: problem or BACKENDS[name].describe() for name, problem in problems.items()}
    return [
        BackendStatus(op, name, problems[name] is None, reasons[name])
        for op, modules in MODULES.items()
        for name in modules
    ]


def choose_backend(op: str, requested: str | None, tensor: torch.Tensor) -> str:
    """Pick the backend of one call.

    Args:
        op: the op's name, one of MODULES.
        requested: the call's `backend=` argument.
        tensor: the call's main input; its device and dtype decide.

    Returns:
        The backend's name.

    Raises:
        UnknownNameError: no backend has the requested name.
        BackendError: the requested backend cannot run this call.
    """
    compiling = torch.compiler.is_compiling()
    name: str = _choose(op, requested, tensor.device.type, tensor.dtype, compiling)
    return name


def implementation(op: str, requested: str | None, tensor: torch.Tensor) -> Any:
    """Find what computes one call.

    Args:
        op: as for choose_backend, and so the rest.
        requested: the same.
        tensor: the same.

    Returns:
        The module of the op's backend.

    Raises:
        UnknownNameError: no backend has the requested name.
        BackendError: the requested backend cannot run this call.
    """
    return _loaded[op][choose_backend(op, requested, tensor)]


def load_modules() -> None:
    """Import the modules of all backends that are not imported at their first use.

    Programs that were exported, and counters of operations, find operators by name.
    """
    for backend in BACKENDS.values():
        if not backend.imported_at_use:
            _load(backend.name)


def _load(name: str) -> None:
    for op, modules in MODULES.items():
        if name in modules:
            _loaded[op][name] = import_module(f"audiomamba.ops.{modules[name]}")


def _choose(
    op: str, requested: str | None, device: str, dtype: torch.dtype, compiling: bool
) -> str:
    wanted = _forced.get() if requested is None else requested
    if wanted is None:
        chosen = _fastest(op, device, dtype)
    else:
        chosen = _named(wanted)
        problem = chosen.problem_with(device, dtype)
        if chosen.name not in MODULES[op]:
            problem = f"it has no such op; use one of {', '.join(MODULES[op])}"
        if problem is not None:
            raise BackendError(f"{op}: backend {chosen.name!r} cannot run this call: {problem}")
    # The compiler looks at _loaded once in a graph: what a later op may need has to be there.
    for name in available_backends() if compiling else (chosen.name,):
        if name not in _loaded[op]:
            _load(name)
    return chosen.name


# What torch.compiler.assume_constant_result does, without its import of the whole compiler, which
# takes as long as that of torch itself.
_choose._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _fastest(op: str, device: str, dtype: torch.dtype) -> Backend:
    """The last backend that is meant for these tensors and can run the op."""
    for name in reversed(MODULES[op]):  # asked at every call of an op: in as few steps as can be
        backend = BACKENDS[name]
        meant = not backend.only_named and (not backend.devices or device in backend.devices)
        if meant and backend.problem_with(device, dtype) is None:
            return backend
    return BACKENDS["reference"]


def _named(name: str) -> Backend:
    if name not in BACKENDS:
        raise UnknownNameError("backend", name, BACKENDS)
    return BACKENDS[name]
