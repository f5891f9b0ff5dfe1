"""`audiomamba finetune`: what it says, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import noise, run, write

from audiomamba import checkpoints, models
from audiomamba.audio import FrontEnd


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per class, and a small model beside them."""
    home = tmp_path_factory.mktemp("home")
    time_s = np.arange(4_800) / 16_000
    for label, hz in (("high", 3000), ("low", 200)):
        (home / "clips" / label).mkdir(parents=True)
        for take in range(6):
            tone = 0.3 * np.sin(2 * np.pi * hz * (1 + 0.01 * take) * time_s)
            write(home / "clips" / label / f"{take}.wav", tone + 0.02 * noise(0.3), 16_000)
    torch.manual_seed(0)
    checkpoint = checkpoints.Checkpoint(
        name="small",
        model=models.create("cnn_small", n_classes=2, n_frames=32, n_mels=32),
        front_end=FrontEnd(n_frames=32, n_mels=32),
        labels=("a", "b"),
        scores="sigmoid",
    )
    checkpoints.save(home / "model", checkpoint)
    return home / "clips"


def probe(clips: Path, out: Path | str, *more: object) -> tuple[object, ...]:
    model = clips.parent / "model"
    return ("finetune", "--data", clips, "--out", out, "--model", model, "--probe", *more)


def test_the_command_that_is_shown_names_the_model_that_was_made(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    shown = run(*probe(clips, "general"))

    assert shown.exit_code == 0, shown.stderr
    last = shown.stdout.splitlines()[-1]
    assert last == "The model is ready: audiomamba tag RECORDING --model ./general"
    tagged = run("tag", clips / "high" / "0.wav", "--model", "./general", "--all-labels")
    assert tagged.exit_code == 0, tagged.stderr
    assert "high" in tagged.stdout


def test_clips_that_cannot_be_read_are_named_and_the_rest_is_done(
    clips: Path, tmp_path: Path
) -> None:
    broken = clips / "high" / "broken.wav"
    broken.write_text("no sound")
    try:
        found = run(*probe(clips, tmp_path / "mine"))
    finally:
        broken.unlink()

    assert found.exit_code == 1
    assert "high/broken.wav: not audio" in found.stderr
    assert (tmp_path / "mine" / "problems.csv").read_text().startswith("clip,problem\n")


def test_what_was_decided_about_a_table_is_said(
    clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [
        (clips / label / f"{take}.wav", label) for label in ("high", "low") for take in range(6)
    ]
    rows = [f"{path};{label}" for path, label in names]
    (tmp_path / "clips.csv").write_text("\n".join(["path;class", *rows, rows[0]]))

    found = run(*probe(clips, tmp_path / "mine", "--data", tmp_path / "clips.csv"))

    assert found.exit_code == 0, found.stderr
    assert "1 row is about a clip of an earlier row (line 14): each clip counts once" in caplog.text


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--minutes", "inf"), "minutes is inf; expected a number above 0"),
        (("--minutes", "nan"), "minutes is nan; expected a number above 0"),
        (("--minutes", "-1"), "minutes is -1.0; expected a number above 0"),
        (("--threads", "1000000"), "n_threads is 1000000; expected 1 to"),
        (("--set", "epochs=3"), "a probe has none of"),
    ],
)
def test_a_call_that_cannot_work_is_one_line_and_leaves_nothing(
    clips: Path, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    refused = run(*probe(clips, tmp_path / "mine", *options))

    assert refused.exit_code == 2
    assert reason in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("out", ["/proc/mine", "/dev/null", "clip.wav", "file/mine"])
def test_an_output_that_cannot_be_written_is_one_line(
    clips: Path, tmp_path: Path, out: str
) -> None:
    write(tmp_path / "clip.wav", noise(0.1), 16_000)
    (tmp_path / "file").touch()
    before = (tmp_path / "clip.wav").read_bytes()

    refused = run(*probe(clips, tmp_path / out))

    assert refused.exit_code == 2
    assert "cannot be written" in refused.stderr or "is a file" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert (tmp_path / "clip.wav").read_bytes() == before
