"""Runs with settings that change how the trainer works."""

import json

import pytest
import torch

from audiomamba import checkpoints, train
from audiomamba.recipes import override
from audiomamba.train.fitting.module import TrainingModule
from audiomamba.train.run import Run

QUICK = ("epochs=2", "model_changes.dim=16", "ema_decay=none", "evaluate_every=1")


def fit(recipe, corpus, out, *changes: str) -> dict[str, torch.Tensor]:
    """The last weights of a run."""
    changed = override(recipe, [*QUICK, *changes])
    train.fit(changed, corpus, out, fold=1, n_threads=1, progress=False)
    return checkpoints.load(out / "last").model.state_dict()


def assert_close(one, other, **tolerance) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], **tolerance)


def test_batches_add_up_to_larger_ones(corpus, recipe, tmp_path):
    """12 clips: 2 steps of 6, or 2 steps of 2 batches of 3."""
    plain = ["model_changes.drop_path=0", "precision=float32"]
    whole = fit(recipe, corpus, tmp_path / "a", "batch_size=6", *plain)
    parts = fit(recipe, corpus, tmp_path / "b", "batch_size=3", "accumulate=2", *plain)
    assert_close(whole, parts, atol=2e-4, rtol=1e-3)
    curves = [Run(tmp_path / name).epochs() for name in "ab"]
    for one, other in zip(*curves, strict=True):
        assert one["learning_rate"] == pytest.approx(other["learning_rate"])
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_activation_checkpointing_changes_no_weight(corpus, recipe, tmp_path):
    plain = fit(recipe, corpus, tmp_path / "a")
    checkpointed = fit(recipe, corpus, tmp_path / "b", "activation_checkpointing=true")
    assert_close(plain, checkpointed, atol=0, rtol=0)


def test_the_mean_of_the_last_epochs_is_handed_over_and_survives_a_stop(
    corpus, recipe, tmp_path, monkeypatch
):
    last = fit(recipe, corpus, tmp_path / "a")
    changes = ("epochs=3", "swa_epochs=2")
    mean = fit(recipe, corpus, tmp_path / "b", *changes)
    state = torch.load(tmp_path / "b" / "state.ckpt", weights_only=True)["state_dict"]
    assert state["average.n_averaged"] == 2
    assert not torch.equal(mean["head.weight"], last["head.weight"])
    lines = Run(tmp_path / "b").epochs()
    assert ["swa_accuracy" in line for line in lines] == [False, True, True]

    add_epoch = Run.add_epoch

    def add_and_fail(self: Run, line: dict[str, float]) -> None:
        add_epoch(self, line)
        if line["epoch"] == 3:
            raise RuntimeError("killed")

    monkeypatch.setattr(Run, "add_epoch", add_and_fail)
    with pytest.raises(RuntimeError, match="killed"):
        fit(recipe, corpus, tmp_path / "c", *changes)
    monkeypatch.undo()
    assert_close(fit(recipe, corpus, tmp_path / "c", *changes), mean, atol=0, rtol=0)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_about_the_same(corpus, recipe, tmp_path, precision):
    whole = fit(recipe, corpus, tmp_path / "a", "precision=float32")
    half = fit(recipe, corpus, tmp_path / "b", f"precision={precision}")
    assert {value.dtype for value in half.values()} == {torch.float32}
    assert_close(whole, half, atol=0.02, rtol=0.1)
    assert any(not torch.equal(whole[name], half[name]) for name in whole)
    losses = [Run(tmp_path / name).epochs()[-1]["loss"] for name in "ab"]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_the_best_epoch_is_by_the_recipes_figure(corpus, recipe, tmp_path):
    fit(recipe, corpus, tmp_path, "epochs=4", "best_by=mean_average_precision")
    lines = Run(tmp_path).epochs()
    config = json.loads((tmp_path / "best" / "config.json").read_text())
    figures = [line["mean_average_precision"] for line in lines]
    assert config["notes"]["epoch"] == 1 + figures.index(max(figures))


@pytest.mark.parametrize("sampling", ["balanced", "by-class"])
def test_balanced_runs_are_the_same_whatever_the_workers(corpus, recipe, tmp_path, sampling):
    changed = override(recipe, [*QUICK, f"sampling={sampling}", "epochs=1"])
    for name, n_workers in (("a", 0), ("b", 1)):
        train.fit(
            changed,
            corpus,
            tmp_path / name,
            fold=1,
            n_threads=1,
            n_workers=n_workers,
            progress=False,
        )
    one, other = (checkpoints.load(tmp_path / name).model.state_dict() for name in "ab")
    assert_close(one, other, atol=0, rtol=0)


def test_a_run_of_an_older_version_goes_on(corpus, recipe, tmp_path):
    """Its record lacks the fields that came later."""
    fit(recipe, corpus, tmp_path)
    path = tmp_path / "run.json"
    record = json.loads(path.read_text())
    for name in ("schedule", "optimizer", "init", "sampling", "accumulate"):
        del record["recipe"][name]
    path.write_text(json.dumps(record))
    again = train.fit(override(recipe, QUICK), corpus, tmp_path, fold=1, progress=False)
    assert again.resumed_epoch == 2


class StoppedError(Exception):
    """Raised in place of a kill."""


@pytest.mark.parametrize(
    "changes",
    [
        ("swa_epochs=2", "precision=float16"),
        ("ema_decay=0.5", "accumulate=2", "batch_size=2", "sampling=balanced"),
        ("schedule.stepped=step", "activation_checkpointing=true", "precision=bfloat16"),
    ],
    ids=lambda changes: changes[0],
)
def test_a_run_goes_on_within_an_epoch(corpus, recipe, tmp_path, monkeypatch, changes):
    changed = override(recipe, [*QUICK, "epochs=3", *changes])
    whole = train.fit(changed, corpus, tmp_path / "a", fold=1, n_threads=1, progress=False)
    end, n_batches = TrainingModule.end_batch, 0

    def end_or_stop(self, batch_idx) -> None:
        nonlocal n_batches
        n_batches += 1
        end(self, batch_idx)
        if self.epoch == 1 and batch_idx == self.n_steps - 1:
            raise StoppedError

    monkeypatch.setattr(TrainingModule, "end_batch", end_or_stop)
    with pytest.raises(StoppedError):
        train.fit(
            changed,
            corpus,
            tmp_path / "b",
            fold=1,
            n_threads=1,
            n_workers=1,
            save_every_s=0,
            progress=False,
        )
    monkeypatch.undo()
    again = train.fit(
        changed, corpus, tmp_path / "b", fold=1, n_threads=1, n_workers=1, progress=False
    )
    assert again.resumed_epoch == 1
    assert again.resumed_step == n_batches // 2 - changed.accumulate
    found = [
        {name: value for name, value in one.metrics.items() if name != "seconds"}
        for one in (whole, again)
    ]
    assert found[0] == found[1]
    weights = [checkpoints.load(tmp_path / name).model.state_dict() for name in "ab"]
    assert_close(*weights, atol=0, rtol=0)
