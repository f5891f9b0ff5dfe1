import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

from audiomamba.errors import BackendError, UnknownNameError
from audiomamba.ops import (
    add_rms_norm,
    available_backends,
    backends,
    causal_conv1d,
    explain_backends,
    gpu,
    native,
    use_backend,
)

TRITON = ("triton",) if gpu.problem() is None else ()
X, WEIGHT = torch.randn(2, 5, 4), torch.randn(4, 3)


def chosen(dtype: torch.dtype = torch.float32, requested: str | None = None) -> str:
    return backends.choose_backend("causal_conv1d", requested, torch.zeros(1, dtype=dtype))


def test_picks_the_compiled_backend_where_it_can_run() -> None:
    assert available_backends() == ("reference", "torch", "cpu", *TRITON)
    assert chosen(torch.float32) == "cpu"
    assert chosen(torch.bfloat16) == "cpu"
    assert chosen(torch.float64) == "torch"
    meta = torch.zeros(1, device="meta")  # nothing is computed: no library is needed
    assert backends.choose_backend("add_rms_norm", None, meta) == "cpu"


def test_use_backend_holds_inside_the_block_and_the_argument_wins() -> None:
    with use_backend("reference"):
        assert chosen() == "reference"
        assert chosen(requested="cpu") == "cpu"
        with use_backend("cpu"):
            assert chosen() == "cpu"
        assert chosen() == "reference"
    assert chosen() == "cpu"


def test_a_named_backend_never_falls_back() -> None:
    with pytest.raises(BackendError, match=r"add_rms_norm: backend 'cpu' cannot run .*float64"):
        add_rms_norm(X.double(), None, torch.ones(4), backend="cpu")
    with use_backend("cpu"), pytest.raises(BackendError, match="float16"):
        causal_conv1d(X.half(), WEIGHT.half())


def test_tensors_without_memory_need_no_library() -> None:
    with use_backend("cpu"):
        assert causal_conv1d(X.to("meta"), WEIGHT.to("meta")).shape == X.shape


def test_an_unknown_backend_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean reference"):
        causal_conv1d(X, WEIGHT, backend="referense")
    with pytest.raises(UnknownNameError), use_backend("gpu"):  # type: ignore[arg-type]
        pass


def test_explains_every_op_and_backend() -> None:
    rows = explain_backends()
    assert {(row.op, row.backend) for row in rows} == {
        (op, name) for op in backends.MODULES for name in backends.BACKENDS
    }
    reasons = {row.backend: row.reason for row in rows if row.available}
    assert native.instruction_set() in reasons["cpu"]


@pytest.fixture
def without_interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine for users, where what was found before is forgotten."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    gpu._problem.cache_clear()
    yield
    gpu._problem.cache_clear()


@pytest.mark.usefixtures("without_interpreter")
@pytest.mark.parametrize(
    ("found", "version", "has_gpu", "capability", "problem"),
    [
        (None, "", False, (0, 0), "Triton is not installed"),
        (True, "3.9.0", False, (0, 0), "no GPU"),
        (True, "3.2.0", True, (9, 0), "Triton 3.2.0 is too old"),
        (True, "3.9.0", True, (7, 5), "compute capability 7.5; the kernels need 8.0"),
        (True, "3.3.1+git", True, (8, 0), None),
    ],
)
def test_says_why_there_is_no_gpu_backend(
    found: object,
    version: str,
    has_gpu: bool,
    capability: tuple[int, int],
    problem: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu, "find_spec", lambda _: found)
    monkeypatch.setattr(gpu, "triton_version", lambda: version)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    told = gpu.problem()
    assert told is None if problem is None else problem in str(told)


def test_without_the_library_plain_pytorch_runs_and_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(native, "LIBRARY", "kernels_that_are_not_there")
    native._load.cache_clear()
    try:
        assert available_backends() == ("reference", "torch", *TRITON)
        assert causal_conv1d(X, WEIGHT).shape == X.shape
        with pytest.raises(BackendError, match="compiled library is missing"):
            causal_conv1d(X, WEIGHT, backend="cpu")
        assert not next(row for row in explain_backends() if row.backend == "cpu").available
        (tmp_path / "kernels_of_nothing.so").write_bytes(b"not a library")
        monkeypatch.setattr(native, "LIBRARY", "kernels_of_nothing")
        native._load.cache_clear()
        reasons = [row.reason for row in explain_backends() if row.backend == "cpu"]
        assert "does not load" in reasons[0]
    finally:
        native._load.cache_clear()


def interface(path: str) -> dict[str, list[str]]:
    """The public functions of a backend's module, with the names of their arguments."""
    module = import_module(f"audiomamba.ops.{path}")
    functions = {name: getattr(module, name) for name in module.__all__}
    return {
        name: [parameter.lstrip("_") for parameter in inspect.signature(function).parameters]
        for name, function in functions.items()
    }


@pytest.mark.skipif(not TRITON, reason="needs Triton")
@pytest.mark.parametrize("op", backends.MODULES)
def test_all_backends_of_an_op_have_the_functions_of_its_definition(op: str) -> None:
    wanted = interface(backends.MODULES[op]["reference"])
    for path in backends.MODULES[op].values():
        found = interface(path)
        assert found.items() >= wanted.items()


def test_a_record_and_a_module_make_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("audiomamba.ops.norm_of_twos")
    module.add_norm = lambda x, *_, eps: (torch.full_like(x, 2.0), x + eps)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    record = backends.Backend(name="twos", describe=lambda: "two everywhere", devices=("cpu",))
    monkeypatch.setattr(backends, "BACKENDS", {**backends.BACKENDS, "twos": record})
    modules = {**backends.MODULES["add_rms_norm"], "twos": "norm_of_twos"}
    monkeypatch.setattr(backends, "MODULES", {**backends.MODULES, "add_rms_norm": modules})
    ones = torch.ones(4)
    for options in ({}, {"backend": "twos"}):  # the last of the list is the one that is picked
        normed, total = add_rms_norm(X, None, ones, eps=1.0, **options)
        assert (normed == 2).all()
        torch.testing.assert_close(total, X + 1)
    assert chosen() == "cpu"  # which has this op, unlike the new one
    with pytest.raises(BackendError, match=r"'twos' cannot run this call: it has no such op"):
        causal_conv1d(X, WEIGHT, backend="twos")
    (row,) = (row for row in explain_backends() if row.backend == "twos")
    assert row == ("add_rms_norm", "twos", True, "two everywhere")


def test_importing_the_ops_does_not_load_the_library() -> None:
    code = (
        "import audiomamba.ops\nfrom audiomamba.ops import native\n"
        "assert native._load.cache_info().currsize == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
