"""Tables of many recordings, made in one go or in pieces."""

import csv
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile

import audiomamba
from audiomamba.infer import Failed, Tagged
from audiomamba.infer.reading import TagOptions
from audiomamba.infer.tag_table import TaggedTable

RATE = 16_000


def write_noise(path: Path, seconds: float, seed: int = 0) -> Path:
    samples = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    soundfile.write(path, samples, RATE)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two recordings, the second shorter than half a window, and between them one that fails."""
    broken = tmp_path / 'b "b", é.wav'
    broken.write_text("no sound")
    return [write_noise(tmp_path / "a.wav", 1.5), broken, write_noise(tmp_path / "c.flac", 0.1)]


def begin(model_folder: Path, files: list[Path], out: Path, **choice: object) -> TaggedTable:
    tagger, about = audiomamba.load(model_folder), {"model_sha256": "0123"}
    kept = TagOptions(**choice)  # type: ignore[arg-type]
    return TaggedTable(tagger, files, out, kept, about=about, overwrite=False)


def make(model_folder: Path, files: list[Path], out: Path, **choice: object) -> TaggedTable:
    table = begin(model_folder, files, out, **choice)
    for _ in table.results():
        pass
    return table


def test_csv_and_parquet_have_numbered_columns(
    model_folder: Path, files: list[Path], tmp_path: Path
) -> None:
    for suffix in (".csv", ".parquet"):
        assert make(model_folder, files, tmp_path / f"tags{suffix}", top=2).n_failed == 1
    with (tmp_path / "tags.csv").open(newline="") as file:
        first, failed, short = csv.DictReader(file)
    parquet = pyarrow.parquet.read_table(tmp_path / "tags.parquet")

    assert list(first) == [
        "file",
        "seconds",
        "label_1",
        "score_1",
        "label_2",
        "score_2",
        "note",
        "error",
    ]
    expected = audiomamba.load(model_folder).tag(files[0])[:2]
    assert [first["label_1"], first["label_2"]] == [tag.label for tag in expected]
    assert float(first["score_2"]) == pytest.approx(expected[1].score, abs=1e-5)
    assert (first["seconds"], first["note"], first["error"]) == ("1.5", "", "")
    assert failed["file"] == str(files[1])
    assert failed["error"].startswith(f"{files[1]}: not audio")
    assert [failed[name] for name in first if name not in ("file", "error")] == [""] * 6
    assert "under half of a window" in short["note"]
    assert parquet.column_names == list(first)
    assert parquet["file"].to_pylist() == [str(file) for file in files]
    assert parquet["seconds"].to_pylist() == [1.5, None, 0.1]
    assert parquet["score_1"].to_pylist() == [
        pytest.approx(float(row["score_1"])) if row["score_1"] else None
        for row in (first, failed, short)
    ]
    assert json.loads(parquet.schema.metadata[b"audiomamba"])["top"] == 2


def test_json_lines_have_tags(model_folder: Path, files: list[Path], tmp_path: Path) -> None:
    make(model_folder, files, tmp_path / "tags.jsonl", top=1)
    rows = [json.loads(line) for line in (tmp_path / "tags.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows] == [str(file) for file in files]
    assert [len(row["tags"]) for row in rows] == [1, 0, 1]
    assert [sorted(row) for row in rows] == [["error", "file", "note", "seconds", "tags"]] * 3


def test_with_a_threshold_there_are_as_many_columns_as_tags(
    model_folder: Path, files: list[Path], tmp_path: Path
) -> None:
    limit = audiomamba.load(model_folder).tag(files[0])[1].score - 1e-4
    make(model_folder, files, tmp_path / "tags.csv", threshold=limit)
    make(model_folder, files, tmp_path / "none.csv", threshold=1.0)
    header = (tmp_path / "tags.csv").read_text().splitlines()[0]
    assert "label_2" in header
    assert (tmp_path / "none.csv").read_text().startswith("file,seconds,note,error\n")


def test_names_that_are_no_text_are_escaped(model_folder: Path, tmp_path: Path) -> None:
    odd = Path(str(tmp_path / "caf") + "\udce9.wav")
    write_noise(tmp_path / "a.wav", 0.5).rename(odd)
    for suffix in (".csv", ".jsonl", ".parquet"):
        assert make(model_folder, [odd], tmp_path / f"tags{suffix}").n_failed == 0
    assert r"caf\udce9.wav" in (tmp_path / "tags.csv").read_text("utf-8")
    found = pyarrow.parquet.read_table(tmp_path / "tags.parquet")["file"].to_pylist()
    assert found[0].endswith(r"caf\udce9.wav")


def test_a_table_goes_on_where_it_was_left(
    model_folder: Path, files: list[Path], tmp_path: Path
) -> None:
    more = [*files, *(write_noise(tmp_path / f"{n}.wav", 0.4, n) for n in range(200))]
    out = tmp_path / "tags.csv"
    results = begin(model_folder, more, out).results()
    done = {next(results).file for _ in range(20)}
    results.close()

    table = begin(model_folder, more, out)
    rest = list(table.results())

    assert not out.with_name("tags.csv.journal").exists()
    assert {result.file for result in rest}.isdisjoint(done)
    assert len(rest) + len(done) == len(more) == table.n_files
    assert all(isinstance(result, Tagged | Failed) for result in rest)
    assert begin(model_folder, more, out).n_failed == 1


# Killed at any moment


def start(model_folder: Path, recordings: Path, out: Path) -> subprocess.Popen[bytes]:
    command = ["tag", recordings, "--model", model_folder, "--out", out, "--threads", "1"]
    return subprocess.Popen(
        [sys.executable, "-m", "audiomamba", *map(str, command)], stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    _, error = process.communicate(timeout=120)
    assert process.returncode == 1, error  # two recordings cannot be read


def rows_of(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


def n_bytes(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def kill_when(process: subprocess.Popen[bytes], happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and not happened():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def kill_again_and_again(model_folder: Path, folder: Path, n_kills: int, seed: int) -> None:
    """Kill a call at random moments of its work, let the last one end, and look at the table."""
    rng = random.Random(seed)
    recordings = folder / "recordings"
    recordings.mkdir()
    for place in range(40 * n_kills + 40):
        write_noise(recordings / f"{place:04}.wav", rng.choice([0.05, 0.1, 0.3, 0.7]), place)
    for place in (3, 77):
        (recordings / f"{place:04}.wav").write_text("no sound")
    undisturbed, out = folder / "undisturbed.jsonl", folder / "tags.jsonl"
    finish(start(model_folder, recordings, undisturbed))
    journal = folder / "tags.jsonl.journal"

    for _ in range(n_kills):
        enough = n_bytes(journal) + rng.randrange(1, 6000)
        after_s = time.monotonic() + rng.choice([60, 60, rng.uniform(0, 4)])
        kill_when(
            start(model_folder, recordings, out),
            lambda enough=enough, after_s=after_s: (
                n_bytes(journal) >= enough or time.monotonic() > after_s
            ),
        )
    assert n_bytes(journal)
    assert not out.exists()
    finish(start(model_folder, recordings, out))

    found, expected = rows_of(out), rows_of(undisturbed)
    assert [row["file"] for row in found] == [str(file) for file in sorted(recordings.iterdir())]
    for row, other in zip(found, expected, strict=True):
        scores = [[tag.pop("score") for tag in it["tags"]] for it in (row, other)]  # type: ignore[attr-defined]
        assert row == other
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_killed_three_times_a_call_ends_with_one_row_per_recording(
    model_folder: Path, tmp_path: Path
) -> None:
    kill_again_and_again(model_folder, tmp_path, n_kills=3, seed=0)


@pytest.mark.slow
def test_killed_twenty_times_a_call_ends_with_one_row_per_recording(
    model_folder: Path, tmp_path: Path
) -> None:
    kill_again_and_again(model_folder, tmp_path, n_kills=20, seed=1)


@pytest.mark.slow
def test_killed_at_its_end_a_call_ends_with_one_row_per_recording(
    model_folder: Path, tmp_path: Path
) -> None:
    """Killed while the table is written, the run noted and the process ends."""
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for place in range(10):
        write_noise(recordings / f"{place}.wav", 0.1, place)
    for place in (3, 7):
        (recordings / f"{place}.wav").write_text("no sound")
    rng = random.Random(2)
    for attempt in range(20):
        out = tmp_path / f"{attempt}.jsonl"
        part, after_s = tmp_path / f"{attempt}.jsonl.part", rng.choice([0, 1e-3, 1e-2, 1e-1])
        process = start(model_folder, recordings, out)
        kill_when(process, lambda out=out, part=part: part.exists() or out.exists())
        time.sleep(after_s)
        finish(start(model_folder, recordings, out))
        assert len(rows_of(out)) == 10
