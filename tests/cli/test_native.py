"""The option --mode native of tag and timeline."""

import json
from pathlib import Path

import pytest
import torch
from command_line import noise, run, write

from audiomamba import checkpoints, models
from audiomamba.audio import FrontEnd


def test_a_recording_shorter_than_a_patch_is_read_in_one_pass_as_tag_reads_it(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    size = {"n_classes": 3, "n_frames": 32, "depth": 1, "dim": 32}
    checkpoint = checkpoints.Checkpoint(
        name="tiny",
        model=models.create("aum_tiny", class_token="none", **size),
        front_end=FrontEnd(n_frames=32),
        labels=("bell", "dog", "rain"),
        scores="sigmoid",
    )
    checkpoints.save(tmp_path / "model", checkpoint)
    files = [write(tmp_path / f"{n}.wav", noise(n / 1000), 16_000) for n in (10, 50, 500)]
    call = (*files, "--model", tmp_path / "model")
    events = ("--format", "json", "--threshold", 0.01, "--shortest", 0, "--step", 0.01)

    tagged = run("tag", *call, "--mode", "native", "--json")
    native = run("timeline", *call, "--mode", "native", *events)
    windows = run("timeline", *call, *events)

    assert (tagged.exit_code, native.exit_code) == (0, 0), native.stderr
    assert native.stderr == ""
    rows, others = (list(map(json.loads, it.stdout.splitlines())) for it in (native, windows))
    assert [row["file"] for row in rows] == list(map(str, files))
    assert all(row["events"] for row in rows)
    for row, other in zip(rows[:2], others[:2], strict=True):  # all of which is in one window
        for event, same in zip(row["events"], other["events"], strict=True):
            assert event == same | {"score": pytest.approx(same["score"], abs=1e-5)}
