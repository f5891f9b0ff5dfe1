"""Two nodes of a Ray cluster on this machine, of which one is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from bulk_runs import children, command, plan, rows_of, write_clips

from audiomamba import bulk
from audiomamba.bulk import Plan
from audiomamba.bulk.part import numbers_done
from audiomamba.storage import Storage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed"),
]
PORT = 20_000 + os.getpid() % 20_000


@contextmanager
def node(*arguments: str) -> Iterator[int]:
    """Run a node; yields its process that others depend on, when that is there."""
    program = Path(sys.executable).with_name("ray")
    common = ("--num-cpus=2", "--disable-usage-stats", "--object-store-memory=100000000")
    started = subprocess.Popen(
        [program, "start", "--block", *arguments, *common], stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 200
        while not (found := [it for it in children(started.pid) if name_of(it) == "raylet"]):
            assert started.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield found[0]
    finally:
        all_of_them = descendants(started.pid)
        started.kill()
        started.wait()
        for process in all_of_them:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def descendants(process: int) -> list[int]:
    """All processes below one."""
    return [it for child in children(process) for it in (child, *descendants(child))]


def name_of(process: int) -> str:
    """The name of what a process runs; empty where it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text().split("\0")[0].rpartition("/")[2]
    except OSError:
        return ""


@pytest.fixture
def second_node() -> Iterator[int]:
    """The process of the second node of a cluster."""
    with (
        node("--head", f"--port={PORT}", "--include-dashboard=false"),
        node(f"--address=127.0.0.1:{PORT}") as second,
    ):
        yield second


def test_a_node_is_killed_and_all_is_complete_and_equal(
    model_folder: Path, second_node: int, tmp_path: Path
) -> None:
    clips = write_clips(tmp_path / "clips", 1000)
    for name in ("ours", "expected"):
        plan(tmp_path / name, model_folder, clips, "--timeline", "--tags", part_files=10)
    storage = Storage(str(tmp_path / "ours"))

    run = subprocess.Popen(
        command("run", tmp_path / "ours", "--ray", f"127.0.0.1:{PORT}", "--threads", 1)
    )
    while run.poll() is None and len(numbers_done(storage)) < 10:
        time.sleep(0.1)
    assert run.poll() is None
    os.kill(second_node, signal.SIGKILL)

    assert run.wait() == 0
    bulk.launch(Plan.open(str(tmp_path / "expected")), n_workers=2)
    rows = rows_of(tmp_path / "ours", tmp_path / "ours.jsonl")
    assert len(rows) == 1000
    assert rows == rows_of(tmp_path / "expected", tmp_path / "expected.jsonl")
