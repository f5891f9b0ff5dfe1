"""Processes that are killed while they work."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from bulk_runs import command, plan, rows_of, workers, write_clips

from audiomamba import bulk
from audiomamba.bulk import Plan


def disturbed(
    out: Path, *, n_workers: int, every_s: float, n_parents: int, most_s: float
) -> tuple[int, int]:
    """Run until all is done, killing workers and parents; returns how many were killed."""
    chance, n_killed, n_parents_killed = random.Random(0), 0, 0
    deadline = time.monotonic() + most_s
    while time.monotonic() < deadline:
        parent = subprocess.Popen(
            command("run", out, "--workers", n_workers, "--threads", 1), start_new_session=True
        )
        kills_left = 4 * n_workers
        while parent.poll() is None and time.monotonic() < deadline:
            time.sleep(every_s)
            if found := workers(parent.pid):
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(found), signal.SIGKILL)
                    n_killed += 1
            kills_left -= 1
            if not kills_left and n_parents_killed < n_parents:
                parent.kill()
                n_parents_killed += 1
        if parent.wait() == 0:
            return n_killed, n_parents_killed
        assert parent.returncode == -signal.SIGKILL
    parent.kill()
    raise TimeoutError("it did not get done")


def test_killed_workers_and_a_killed_parent_change_nothing(
    clips: Path, model_folder: Path, expected: list[dict], tmp_path: Path
) -> None:
    plan(tmp_path / "out", model_folder, clips, part_files=20)

    n_killed, _ = disturbed(tmp_path / "out", n_workers=2, every_s=2.5, n_parents=1, most_s=240)

    assert n_killed
    assert rows_of(tmp_path / "out", tmp_path / "rows.jsonl") == expected
    assert not list(bulk.verify(Plan.open(str(tmp_path / "out"))))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_files_with_a_worker_killed_every_3_s(
    model_folder: Path, tmp_path: Path
) -> None:
    clips = write_clips(tmp_path / "clips", 10_000)
    for name in ("undisturbed", "disturbed"):
        plan(tmp_path / name, model_folder, clips, part_files=100)
    bulk.launch(Plan.open(str(tmp_path / "undisturbed")))

    n_killed, n_parents = disturbed(
        tmp_path / "disturbed", n_workers=4, every_s=3, n_parents=2, most_s=3000
    )

    assert n_killed > 20
    assert n_parents == 2
    rows = rows_of(tmp_path / "disturbed", tmp_path / "rows.jsonl")
    assert len(rows) == len({row["file"] for row in rows}) == 10_000
    assert rows == rows_of(tmp_path / "undisturbed", tmp_path / "expected.jsonl")
