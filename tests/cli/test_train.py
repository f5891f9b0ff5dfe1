"""`audiomamba train` and `audiomamba evaluate`."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import command, interrupt, noise, run, write

from audiomamba import recipes
from audiomamba.recipes import ablations


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per class: low and high tones."""
    folder = tmp_path_factory.mktemp("clips")
    time_s = np.arange(8_000) / 16_000
    for label, hz in (("high", 3000), ("low", 200)):
        (folder / label).mkdir()
        for take in range(6):
            tone = 0.3 * np.sin(2 * np.pi * hz * (0.9 + 0.04 * take) * time_s)
            write(folder / label / f"{take}.wav", tone + 0.02 * noise(0.5), 16_000)
    return folder


def training(clips: Path, out: Path, *more: str) -> tuple[object, ...]:
    """A training call that takes a second."""
    changes = (
        "model=aum_tiny",
        "model_changes.depth=1",
        "model_changes.dim=32",
        "front_end.n_frames=48",
        "front_end.n_mels=32",
        "augment.mel_mask_bins=4",
        "augment.frame_mask_frames=8",
        "batch_size=4",
        "precision=float32",
        *more,
    )
    settings = [word for change in changes for word in ("--set", change)]
    return ("train", "own/starter", "--data", clips, "--out", out, *settings)


def test_train_lists_every_recipe_and_every_table_of_a_paper() -> None:
    shown = run("train", "--list")

    first_words = [line.split()[0] for line in shown.stdout.splitlines() if line.startswith("  ")]
    assert shown.exit_code == 0
    assert sorted(first_words) == sorted(["name", *recipes.names(), "name", *ablations.names()])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("esc10/startr",), "unknown recipe 'esc10/startr'; did you mean esc10/starter"),
        (("esc10/starter", "--set", "epoch=3"), "did you mean epochs"),
        (("esc10/starter", "--set", "epochs"), "expected NAME=VALUE"),
        (("esc10/starter", "--set", "epochs=none"), "expected a whole number"),
        (("esc10/starter", "--cv", "--all"), "more than one of --fold, --cv and --all"),
        ((), "no recipe was given; expected RECIPE or --ablation"),
        (("--set-of", "aum/table-v"), "--set-of is now called --ablation; expected --ablation aum"),
        (("esc10/starter", "--cv", "--shard"), "--shard does not go with --cv; leave it out"),
        (("--ablation", "aum/table-iii"), "unknown ablation 'aum/table-iii'; did you mean"),
        (("--ablation", "aum/table-v", "--all"), "--all does not go with --ablation"),
        (
            ("esc10/aum-tiny", "--ablation", "aum/table-v", "--set", "model_changes.pool=max"),
            "model_changes.pool is what aum/table-v compares",
        ),
    ],
)
def test_a_wrong_training_call_is_refused(
    arguments: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    result = run("train", *arguments, "--data", tmp_path, "--out", tmp_path / "run")

    assert result.exit_code == 2
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_train_without_data_or_a_folder_says_so(tmp_path: Path) -> None:
    assert "--data is missing" in run("train", "own/starter", "--out", tmp_path).stderr
    assert "--out is missing" in run("train", "own/starter", "--data", tmp_path).stderr


def test_a_table_of_a_paper_is_trained_and_what_is_missing_ends_with_1(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ablations.get("audiomamba/table-2")
    cells = {name: chosen.cells[name] for name in ("Audio Mamba", "+ ImageNet")}
    monkeypatch.setattr(ablations, "ABLATIONS", {chosen.name: replace(chosen, cells=cells)})
    _, _, *quick = training(clips, tmp_path, "epochs=1", "corpus=own")

    done = run("train", "own/starter", "--ablation", chosen.name, *quick)

    assert done.exit_code == 1
    assert re.search(
        r"^\| Audio Mamba \| \d+\.\d\d M \| \d+\.\d \| 43.50 \|", done.stdout, re.MULTILINE
    )
    assert "| + ImageNet |  | not run | 72.50 |" in done.stdout
    assert done.stderr.startswith("audiomamba: + ImageNet: the recipe starts from VMamba-T")
    assert len(done.stderr.splitlines()) == 1


def test_train_evaluate_and_tag_with_ones_own_clips(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    trained = run(*training(clips, out, "epochs=3"))
    again = run(*training(clips, out, "epochs=3"))
    other = run(*training(clips, out, "epochs=4"))
    shown = run("evaluate", out, "--data", clips)
    found = run("evaluate", out, "--data", clips, "--split", "all", "--json")
    tagged = run("tag", clips, "--model", out, "--json", "--top", 1)

    assert trained.exit_code == 0, trained.stderr
    assert again.stdout == trained.stdout
    assert other.exit_code == 2
    assert "epochs: 3, now 4" in other.stderr
    assert shown.exit_code == 0, shown.stderr
    assert "accuracy" in shown.stdout
    assert json.loads(found.stdout)["metrics"]["n_clips"] == 12
    assert len(tagged.stdout.splitlines()) == 12


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_training_with_one_line(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with subprocess.Popen(
        command(*training(clips, out, "epochs=5000", "evaluate_every=5000")),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        error = interrupt(process, (out / "state.ckpt").exists)

    assert process.returncode == 130
    (line,) = error.splitlines()
    assert "interrupted after epoch" in line
