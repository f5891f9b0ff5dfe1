import ctypes
import multiprocessing
import statistics
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from audiomamba.errors import UnknownNameError
from audiomamba.ops import bidirectional_selective_scan, causal_conv1d, interface, native


def scan_once(tokens: int = 64, channels: int = 64, silent: bool = False) -> Callable[[], Tensor]:
    """A call whose second half is silence, if asked: the states then decay into denormals."""
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(1, tokens, channels, generator=generator)
    if silent:
        u[:, tokens // 2 :] = 0
    delta = torch.rand(1, tokens, channels, generator=generator) * 0.1
    A = -torch.arange(1.0, 17).repeat(channels, 1)
    B, C = torch.randn(2, 1, tokens, 16, generator=generator)
    return lambda: bidirectional_selective_scan(u, delta, A, A, B, C, backend="cpu")


def test_instruction_sets_are_listed_best_first() -> None:
    names = native.instruction_sets()
    assert names
    assert native.instruction_set() == names[0]
    order = ("avx512", "avx2", "sse", "portable")
    assert list(names) == [name for name in order if name in names]


def test_an_unknown_instruction_set_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="instruction set"):
        native.use_instruction_set("avx1024")


def test_denormal_mode_of_the_caller_is_restored() -> None:
    tiny = torch.tensor([1e-39])
    for flush in (True, False):
        torch.set_flush_denormal(flush)
        try:
            scan_once()()
            assert ((tiny * 1.0).item() == 0) is flush
        finally:
            torch.set_flush_denormal(False)


@pytest.mark.usefixtures("instruction_set")
def test_denormals_are_flushed_inside() -> None:
    x = torch.full((1, 40, 64), 1e-39)
    assert (causal_conv1d(x, torch.ones(64, 1), backend="cpu") == 0).all()


def test_the_number_of_threads_is_torchs() -> None:
    for n_threads in (2, 1):
        torch.set_num_threads(n_threads)
        scan_once()()
        assert native.library().omp_get_max_threads() == torch.get_num_threads() == n_threads


def _in_child(expected: Tensor) -> bool:
    return torch.equal(scan_once()(), expected)


def test_works_in_a_forked_child_after_use_in_the_parent() -> None:
    torch.set_num_threads(2)
    expected = scan_once()()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_in_child, (expected,)).get(timeout=60)


@pytest.mark.slow
@pytest.mark.usefixtures("instruction_set")
def test_silence_costs_no_more_than_noise() -> None:
    noise, silence = scan_once(2048, 256), scan_once(2048, 256, silent=True)
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(15):
        for call, times in zip((noise, silence), seconds, strict=True):
            start = time.process_time()
            call()
            times.append(time.process_time() - start)
    assert statistics.median(seconds[1]) <= 1.2 * statistics.median(seconds[0])


def test_a_library_of_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Norm(ctypes.Structure):
        """With two fields of one type changed over, which nothing else would notice."""

        _fields_ = tuple(
            ({"x": "residual", "residual": "x"}.get(name, name), kind)
            for name, kind in interface.Norm._fields_
        )

    changed = tuple(Norm if struct is interface.Norm else struct for struct in interface.STRUCTS)
    monkeypatch.setattr(interface, "STRUCTS", changed)
    native._load.cache_clear()
    try:
        assert "another version" in str(native.problem())
    finally:
        monkeypatch.undo()
        native._load.cache_clear()
    assert native.problem() is None
