"""`audiomamba evaluate` with clips that cannot be read."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import noise, run, write

pytest.importorskip("sklearn")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A table with two clips that can be read, one that is missing, and two without sound."""
    for name in ("dog", "rain"):
        write(tmp_path / f"{name}.wav", noise(0.4), 16_000)
    (tmp_path / "empty.wav").touch()
    write(tmp_path / "header.wav", np.zeros(0), 16_000)
    rows = ("dog.wav,dog", "rain.wav,rain", "gone.wav,rain", "empty.wav,dog", "header.wav,dog")
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(("filename,label", *rows)) + "\n")
    return table


def test_clips_that_cannot_be_read_are_named_and_left_out(clips: Path, model_folder: Path) -> None:
    result = run("evaluate", model_folder, "--data", clips, "--json", "--resamples", 0)

    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["metrics"]["n_clips"] == 2
    assert len(found["failed"]) == 3
    said = result.stderr.splitlines()
    for name, reason in (("gone", "no such file"), ("empty", "empty"), ("header", "no samples")):
        assert sum(f"{name}.wav: " in line and reason in line for line in said) == 1


def test_where_no_clip_can_be_read_that_is_an_error(clips: Path, model_folder: Path) -> None:
    clips.write_text("filename,label\ngone.wav,rain\nempty.wav,dog\n")
    result = run("evaluate", model_folder, "--data", clips, "--resamples", 0)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert "none of 2 clips can be read" in line
