import json

import pytest
from safetensors import safe_open

from audiomamba import train
from audiomamba.errors import ConfigError, TrainingError
from audiomamba.recipes import ablations
from audiomamba.recipes.ablations import Ablation, Cell
from audiomamba.train.run import Run

TABLE = Ablation(
    name="paper/table",
    about="what is compared",
    source="A paper, Table 1",
    base="esc10/aum-tiny",
    columns=("accuracy of the paper",),
    cells={
        "As is": Cell(changes=(), figures=(12.5,)),
        "fo-fo, end": Cell(
            changes=("model_changes.direction=fo-fo", "model_changes.class_token=end"),
            figures=(None,),
        ),
        "+ ImageNet": Cell(changes=("init=imagenet/vim-small",), figures=(72.5,)),
    },
)
CHANGES = (
    "epochs=2",
    "batch_size=4",
    "evaluate_every=2",
    "front_end.n_frames=32",
    "model_changes.depth=1",
    "model_changes.dim=16",
    "precision=float32",
)


pytestmark = pytest.mark.usefixtures("table")


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setattr(ablations, "ABLATIONS", {TABLE.name: TABLE})


def test_all_cells_are_run_once_and_stand_beside_the_papers_figures(corpus, tmp_path):
    def run() -> train.SetResult:
        return train.run_set(
            "paper/table", corpus, tmp_path, changes=CHANGES, jobs=2, n_threads=1, progress=False
        )

    found = run()
    first, second, third = found.cells
    assert [cell.name for cell in found.cells] == list(TABLE.cells)
    assert 0 <= first.figure <= 1
    assert first.figure == Run(tmp_path / "as-is" / "run").record()["metrics"]["ema_accuracy"]
    recipe = Run(tmp_path / "fo-fo-end" / "run").record()["recipe"]
    assert recipe["model_changes"] == {
        "depth": 1,
        "dim": 16,
        "direction": "fo-fo",
        "class_token": "end",
    }
    assert third.figure is None
    assert found.problems == (f"+ ImageNet: {third.problem}",)
    assert "huggingface.co/hustvl" in third.problem
    text = (tmp_path / "set.md").read_text()
    assert text == found.to_markdown()
    with safe_open(tmp_path / "as-is" / "run" / "last" / "model.safetensors", "pt") as saved:
        assert first.n_parameters == sum(saved.get_tensor(key).numel() for key in saved.keys())  # noqa: SIM118
    size = f"{first.n_parameters / 1e6:.2f} M"
    assert f"| As is | {size} | {100 * first.figure:.1f} | 12.50 | {first.seconds:.0f} |" in text
    assert f"| fo-fo, end | {size} | {100 * second.figure:.1f} |  |" in text
    assert "| + ImageNet |  | not run | 72.50 |  |" in text
    assert json.loads((tmp_path / "set.json").read_text())["base"] == "esc10/aum-tiny"
    stamps = {path: path.stat().st_mtime for path in tmp_path.rglob("metrics.jsonl")}
    assert len(stamps) == 2
    assert run().cells == found.cells
    assert {path: path.stat().st_mtime for path in stamps} == stamps


def test_cells_are_cross_validated_and_a_failed_one_is_named(corpus, tmp_path, monkeypatch):
    wild = Cell(changes=("learning_rate=1e30",), figures=(1.0,))
    one = Ablation(**{**TABLE.__dict__, "cells": {"tame": TABLE.cells["As is"], "wild": wild}})
    monkeypatch.setattr(ablations, "ABLATIONS", {one.name: one})
    changes = (*CHANGES, "warmup_epochs=0", "label_smoothing=0")
    found = train.run_set(
        one.name, corpus, tmp_path, changes=changes, cv=True, n_threads=1, progress=False
    )
    tame, failed = found.cells
    folds = [Run(tmp_path / "tame" / f"fold-{fold}").record() for fold in (1, 2)]
    accuracies = [record["metrics"]["ema_accuracy"] for record in folds]
    assert tame.runs == tuple(accuracies)
    assert tame.figure == pytest.approx(sum(accuracies) / 2)
    assert tame.sd == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)
    assert failed.figure is None
    assert "wild, fold" in failed.problem
    assert "mean of 2 folds" in found.to_markdown()


def test_a_model_that_cannot_be_is_refused_before_anything_is_trained(corpus, tmp_path):
    changes = (*CHANGES, "model_changes.patch=256,256")
    with pytest.raises(ConfigError):
        train.run_set("paper/table", corpus, tmp_path, changes=changes, n_threads=1, progress=False)
    assert not list(tmp_path.rglob("run.json"))


def test_wrong_calls_are_refused_before_anything_is_trained(corpus, tmp_path):
    with pytest.raises(ConfigError, match="choose one of them"):
        train.run_set("paper/table", corpus, tmp_path, cv=True, fold=1)
    with pytest.raises(ConfigError, match="jobs is 0; expected at least 1"):
        train.run_set("paper/table", corpus, tmp_path, jobs=0)
    rows = (corpus / "meta" / "esc50.csv").read_text().splitlines()
    (tmp_path / "one" / "meta").mkdir(parents=True)
    (tmp_path / "one" / "audio").symlink_to(corpus / "audio")
    one_fold = [row for row in rows if not row.startswith("2-")]
    (tmp_path / "one" / "meta" / "esc50.csv").write_text("\n".join(one_fold) + "\n")
    with pytest.raises(TrainingError, match="has 1 folds; expected at least 2"):
        train.run_set("paper/table", tmp_path / "one", tmp_path / "out", cv=True)
