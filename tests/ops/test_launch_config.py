"""How kernels for GPUs are launched: what is kept, what is ignored, and how warmup chooses."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from audiomamba import ops
from audiomamba.doctor import examine
from audiomamba.errors import BackendError, ConfigError
from audiomamba.ops import gpu, launch_config
from audiomamba.ops.autotune import Tuned, warmup
from audiomamba.ops.launch_config import ConfigCache, LaunchConfig

SMALL, LARGE = LaunchConfig(1, 2, 4, 0), LaunchConfig(4, 4, 2, 128)
needs_interpreter = pytest.mark.skipif(
    gpu.problem() is not None or not gpu.interpreted(), reason="Triton is not interpreted here"
)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of settings in a cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    launch_config.config_cache.cache_clear()
    yield tmp_path / "audiomamba" / launch_config.FILE_NAME
    launch_config.config_cache.cache_clear()


def test_what_is_written_is_found_by_the_same_place_only(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "file"
    for key, config in (("H200", SMALL), ("A100", LARGE)):
        cache = ConfigCache(file, key)
        cache.use("scan", config)
        cache.write()
    assert ConfigCache(file, "H200").get("scan") == SMALL
    assert ConfigCache(file, "A100").get("scan") == LARGE
    assert ConfigCache(file, "H100").get("scan") is None
    assert [path.name for path in file.parent.iterdir()] == ["file"]  # nothing is left behind


def test_writing_keeps_what_another_process_wrote_meanwhile(tmp_path: Path) -> None:
    one, other = (ConfigCache(tmp_path / "file", "H200") for _ in range(2))
    one.use("scan, 513 tokens", SMALL)
    other.use("scan, 2049 tokens", LARGE)
    one.write()
    other.write()
    assert len(ConfigCache(tmp_path / "file", "H200")) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "cannot be read"),
        ("[1]", "not of this version's form"),
        ('{"format": 0, "cuts": {}}', "not of this version's form"),
        (
            '{"format": 1, "cuts": {"here": {"scan": [3, 4, 4, 0]}}}',
            "'scan' is no launch configuration",
        ),
        (
            '{"format": 1, "cuts": {"here": {"scan": [2, 4, 4]}}}',
            "'scan' is no launch configuration",
        ),
        ('{"format": 1, "cuts": {"here": {"scan": "fast"}}}', "'scan' is no launch configuration"),
    ],
)
def test_a_broken_file_is_ignored_and_mended_by_writing(
    text: str, problem: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text(text, "utf-8")
    cache = ConfigCache(file, "here")
    assert len(cache) == 0
    assert problem in str(cache.problem)
    cache.use("scan", SMALL)
    cache.write()
    assert ConfigCache(file, "here").get("scan") == SMALL
    assert ConfigCache(file, "here").problem is None


@needs_interpreter
def test_the_doctor_tells_of_a_broken_file(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("no JSON", "utf-8")
    (finding,) = (it for it in examine() if it.name == "gpu settings")
    assert finding.state == "slow"
    assert str(file) in finding.value


def test_the_place_changes_with_the_source_of_the_kernels() -> None:
    key = launch_config.cache_key()
    assert torch.__version__ in key
    assert "kernels " in key


def test_sizes_of_a_class_share_a_configuration() -> None:
    assert launch_config.size_class(2048) == launch_config.size_class(1025) == 11
    assert launch_config.size_class(2049) == 12
    assert launch_config.size_class(1) == 0


@needs_interpreter
def test_warmup_uses_and_keeps_what_is_fastest(file: Path) -> None:
    from audiomamba.ops.selective_scan.triton_configs import CANDIDATES, Work, key_of

    # Every candidate is timed once, and the last but one of each pass is the fastest.
    passes = ("forward", "backward")
    expected = [(kernel, CANDIDATES[kernel][-2], 1.0) for kernel in passes]
    times = iter(
        1.0 if config == CANDIDATES[kernel][-2] else 2.0
        for kernel in passes
        for config in CANDIDATES[kernel]
    )

    def timer(call: Callable[[], object]) -> float:
        call()
        return next(times)

    def warm() -> list[Tuned]:
        return warmup(1, 3, 4, n_states=2, gradient=True, timer=timer)

    assert warm() == expected
    launch_config.config_cache.cache_clear()  # as in another process
    for kernel, config, _ in expected:
        assert (
            launch_config.config_cache().get(key_of(Work(kernel, torch.float32, 2, 2, 4, 3)))
            == config
        )
    assert warm() == []  # what is known is not timed again
    assert json.loads(file.read_text("utf-8"))["format"] == launch_config.FORMAT


@needs_interpreter
@pytest.mark.usefixtures("file")
def test_warmup_leaves_out_what_does_not_fit_the_device() -> None:
    from triton.runtime.errors import OutOfResources

    calls = iter(range(100))

    def timer(call: Callable[[], object]) -> float:
        del call
        if next(calls) != 3:
            raise OutOfResources(2, 1, "registers")
        return 1.0

    (one,) = warmup(1, 2, 2, n_states=1, bidirectional=False, timer=timer)
    assert one.config == LaunchConfig(2, 2, 4, 256)

    def none_fits(call: Callable[[], object]) -> float:
        del call
        raise OutOfResources(2, 1, "registers")

    with pytest.raises(BackendError, match="fits this GPU"):
        warmup(1, 2, 2, n_states=1, bidirectional=False, again=True, timer=none_fits)


@needs_interpreter
def test_warmup_refuses_what_it_cannot_do(file: Path) -> None:
    with pytest.raises(BackendError, match="interpreter"):
        ops.warmup(1, 2, 2)
    with pytest.raises(ConfigError, match="tokens is 0"):
        ops.warmup(1, 0, 2, timer=lambda _: 1.0)
    file.parent.parent.joinpath("audiomamba").write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match="XDG_CACHE_HOME"):
        ops.warmup(1, 2, 2, n_states=1, timer=lambda _: 1.0)


def test_warmup_without_triton_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "problem", lambda: "there is no GPU that PyTorch can use")
    with pytest.raises(BackendError, match="no GPU"):
        ops.warmup(1, 2, 2)
