import subprocess
import sys
from pathlib import Path

import pytest
import torch

from audiomamba.errors import BackendError, UnknownNameError
from audiomamba.ops import (
    add_rms_norm,
    available_backends,
    backends,
    causal_conv1d,
    explain_backends,
    native,
    use_backend,
)

X, WEIGHT = torch.randn(2, 5, 4), torch.randn(4, 3)


def chosen(dtype: torch.dtype = torch.float32, requested: str | None = None) -> str:
    return backends.choose_backend("causal_conv1d", requested, torch.zeros(1, dtype=dtype))


def test_picks_the_compiled_backend_where_it_can_run() -> None:
    assert available_backends() == ("reference", "torch", "cpu")
    assert chosen(torch.float32) == "cpu"
    assert chosen(torch.bfloat16) == "cpu"
    assert chosen(torch.float64) == "torch"
    assert backends.choose_backend("x", None, torch.zeros(1, device="meta")) == "torch"


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
    with use_backend("cpu"), pytest.raises(BackendError, match="on meta"):
        causal_conv1d(X.to("meta"), WEIGHT.to("meta"))


def test_an_unknown_backend_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean reference"):
        causal_conv1d(X, WEIGHT, backend="referense")
    with pytest.raises(UnknownNameError), use_backend("gpu"):  # type: ignore[arg-type]
        pass


def test_explains_every_op_and_backend() -> None:
    rows = explain_backends()
    assert {(row.op, row.backend) for row in rows} == {
        (op, name) for op in backends.OPS for name in backends.BACKENDS
    }
    assert all(row.available for row in rows)
    assert native.instruction_set() in rows[-1].reason


def test_without_the_library_plain_pytorch_runs_and_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(native, "LIBRARY", "kernels_that_are_not_there")
    native._load.cache_clear()
    try:
        assert available_backends() == ("reference", "torch")
        assert causal_conv1d(X, WEIGHT).shape == X.shape
        with pytest.raises(BackendError, match="compiled library is missing"):
            causal_conv1d(X, WEIGHT, backend="cpu")
        assert not explain_backends()[-1].available
        (tmp_path / "kernels_of_nothing.so").write_bytes(b"not a library")
        monkeypatch.setattr(native, "LIBRARY", "kernels_of_nothing")
        native._load.cache_clear()
        assert "does not load" in explain_backends()[-1].reason
    finally:
        native._load.cache_clear()


def test_importing_the_ops_does_not_load_the_library() -> None:
    code = (
        "import audiomamba.ops\nfrom audiomamba.ops import native\n"
        "assert native._load.cache_info().currsize == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
