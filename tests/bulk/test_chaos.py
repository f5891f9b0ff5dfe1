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
from s3_loopback import serving

from audiomamba import bulk
from audiomamba.bulk import Plan
from audiomamba.bulk.part import numbers_done
from audiomamba.storage import Storage

MOTO = os.environ.get("AUDIOMAMBA_MOTO_SERVER", "")


def disturbed(out: str, *, n_workers: int, every_s: float, n_parents: int, most_s: float) -> int:
    """Run until all is done, killing workers and parents; returns how many workers were killed.

    Parents are killed when so many equal shares of the parts are done.
    """
    chance, n_killed, deadline = random.Random(0), 0, time.monotonic() + most_s
    n_parts, storage = Plan.open(out).n_parts, Storage(out)
    for turn in range(1, n_parents + 2):
        parent = subprocess.Popen(command("run", out, "--workers", n_workers, "--threads", 1))
        last_s = time.monotonic()
        while parent.poll() is None:
            assert time.monotonic() < deadline, "it did not get done"
            time.sleep(0.2)
            if turn <= n_parents and len(numbers_done(storage)) > turn * n_parts / (n_parents + 2):
                parent.kill()
            elif time.monotonic() > last_s + every_s and (found := workers(parent.pid)):
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(found), signal.SIGKILL)
                    n_killed += 1
                last_s = time.monotonic()
        assert parent.returncode == (0 if turn > n_parents else -signal.SIGKILL)
    return n_killed


def test_killed_workers_and_a_killed_parent_change_nothing(
    clips: Path, model_folder: Path, expected: list[dict], tmp_path: Path
) -> None:
    plan(tmp_path / "out", model_folder, clips, part_files=10)

    n_killed = disturbed(str(tmp_path / "out"), n_workers=2, every_s=0.5, n_parents=1, most_s=240)

    assert n_killed
    rows = {row["file"]: row for row in rows_of(tmp_path / "out", tmp_path / "rows.jsonl")}
    assert sorted(rows) == sorted(row["file"] for row in expected)
    assert not list(bulk.verify(Plan.open(str(tmp_path / "out"))))


@pytest.fixture(scope="module")
def many_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten thousand short recordings."""
    return write_clips(tmp_path_factory.mktemp("many"), 10_000)


@pytest.fixture(scope="module")
def many_expected(
    many_clips: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict]:
    """The rows of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("expected")
    plan(folder / "out", model_folder, many_clips, *EVERYTHING, part_files=50)
    bulk.launch(Plan.open(str(folder / "out")))
    return rows_of(folder / "out", folder / "rows.jsonl")


EVERYTHING = ("--tags", "--timeline", "--embeddings")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_files_with_a_worker_killed_every_3_s(
    many_clips: Path, many_expected: list[dict], model_folder: Path, tmp_path: Path
) -> None:
    plan(tmp_path / "out", model_folder, many_clips, *EVERYTHING, part_files=50)

    n_killed = disturbed(str(tmp_path / "out"), n_workers=4, every_s=3, n_parents=2, most_s=3000)

    assert n_killed >= 5
    rows = rows_of(tmp_path / "out", tmp_path / "rows.jsonl")
    assert len(rows) == len({row["file"] for row in rows}) == 10_000
    assert rows == many_expected


@pytest.fixture
def moto(tmp_path: Path):
    """The address of a server that does as S3 does, with one bucket."""
    from pyarrow.fs import S3FileSystem

    port = 20_000 + os.getpid() % 20_000
    with (tmp_path / "moto.log").open("wb") as log:
        server = subprocess.Popen([MOTO, "-p", str(port)], stdout=log, stderr=log)
    try:
        files = S3FileSystem(
            access_key="key",
            secret_key="secret",
            endpoint_override=f"127.0.0.1:{port}",
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                files.create_dir("bucket")
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.5)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not MOTO, reason="AUDIOMAMBA_MOTO_SERVER does not say where moto_server is")
def test_ten_thousand_files_on_object_storage_that_fails_now_and_then(
    many_clips: Path,
    many_expected: list[dict],
    model_folder: Path,
    tmp_path: Path,
    moto: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with serving(failing=0.2, target=moto) as (url, n_failed):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        out = "s3://bucket/results/many"
        plan(out, model_folder, many_clips, *EVERYTHING, part_files=50)

        n_killed = disturbed(out, n_workers=4, every_s=3, n_parents=2, most_s=3000)
        rows = rows_of(out, tmp_path / "rows.jsonl")

    assert n_killed >= 5
    assert n_failed[0] >= 20
    assert rows == many_expected
