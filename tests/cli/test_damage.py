"""Commands with a recording that is damaged in the middle: the rest of it is heard, and exit 1."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import noise, run, write


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    path = write(tmp_path / "bad.flac", noise(10.0), 16_000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    return path


SAID = "s of 10.00 s can be read"


def check_line(stderr: str, damaged: Path) -> None:
    lines = [line for line in stderr.splitlines() if SAID in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"audiomamba: {damaged}: damaged or cut short, only 9.")


@pytest.mark.parametrize("mode", ["windows", "native"])
def test_tag(damaged: Path, good: Path, model_folder: Path, mode: str) -> None:
    result = run("tag", damaged, good, "--model", model_folder, "--json", "--mode", mode)
    assert result.exit_code == 1
    check_line(result.stderr, damaged)
    row, other = map(json.loads, result.stdout.splitlines())
    assert SAID in row["error"]
    assert row["tags"]
    assert 9 < row["seconds"] < 10
    assert other["error"] == ""


def test_a_table_keeps_both_the_tags_and_what_is_wrong(
    damaged: Path, good: Path, model_folder: Path, tmp_path: Path
) -> None:
    arguments = ("tag", damaged, good, "--model", model_folder, "--out", tmp_path / "t.csv")
    for _ in range(2):  # the second finds it complete
        result = run(*arguments)
        assert result.exit_code == 1
        with (tmp_path / "t.csv").open(newline="") as table:
            row, other = csv.DictReader(table)
        assert SAID in row["error"]
        assert row["label_1"]
        assert other["error"] == ""


def test_timeline_and_embed(damaged: Path, good: Path, model_folder: Path, tmp_path: Path) -> None:
    result = run("timeline", damaged, good, "--model", model_folder, "--format", "json")
    assert result.exit_code == 1
    check_line(result.stderr, damaged)
    assert str(damaged) in result.stdout
    for more in ((), ("--frames",)):
        out = tmp_path / f"e{len(more)}.npy"
        result = run("embed", damaged, good, "--model", model_folder, "--out", out, *more)
        assert result.exit_code == 1
        check_line(result.stderr, damaged)
        assert np.isfinite(np.load(out)).all()
        assert len(json.loads(out.with_suffix(".json").read_text())["recordings"]) == 2
