import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiomamba import checkpoints, infer, recipes, train
from audiomamba.data import EvaluationDataset, open_manifest, write_manifest
from audiomamba.errors import AudioError, ConfigError, DataError, TrainingError
from audiomamba.recipes import override
from audiomamba.train.run import Run


@pytest.fixture(scope="module")
def finished(corpus, recipe, tmp_path_factory) -> train.RunResult:
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    return train.fit(recipe, corpus, out, fold=1, n_threads=1, progress=False)


def curve(folder: Path) -> list[dict[str, float]]:
    """The metrics of a run without the time they took."""
    return [{k: v for k, v in line.items() if k != "seconds"} for line in Run(folder).epochs()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoints.load(folder / "last").model.state_dict()


def assert_same_run(first: Path, second: Path) -> None:
    assert curve(first) == curve(second)
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_learns_and_writes_everything_down(finished, recipe):
    lines = curve(finished.folder)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert [("accuracy" in line, "ema_accuracy" in line) for line in lines] == [
        (False, False),
        (True, True),
    ] * 2
    record = json.loads((finished.folder / "run.json").read_text())
    assert recipes.from_dict(record["recipe"]) == recipe
    assert record["data"]["n_training"] == record["data"]["n_held_out"] == 12
    assert record["data"]["held_out"] == "1"
    assert record["metrics"] == finished.metrics == Run(finished.folder).epochs()[-1]
    assert record["versions"]["torch"] == version("torch")
    assert record["n_threads"] == 1
    assert finished.seconds > 0
    assert list((finished.folder / "tensorboard").glob("events*"))
    assert not list(finished.folder.glob("*.part"))


def test_the_model_folder_holds_the_average_and_the_measured_front_end(finished, recipe):
    saved = checkpoints.load(finished.folder / "last")
    assert saved.labels == ("low", "middle", "high")
    assert saved.scores == "sigmoid"
    assert saved.front_end.n_frames == 48
    assert saved.front_end.mean not in (None, recipe.front_end.mean)
    state = torch.load(finished.folder / "state.ckpt", weights_only=True)["state_dict"]
    averaged = {
        name.removeprefix("average.module."): value
        for name, value in state.items()
        if name.startswith("average.module.")
    }
    found = saved.model.state_dict()
    assert found.keys() == averaged.keys()
    assert all(torch.equal(found[name], averaged[name]) for name in found)
    assert not torch.equal(found["head.weight"], state["model.head.weight"])


def test_evaluation_gives_the_runs_own_figures(finished, corpus):
    found = train.evaluate(finished.folder, corpus, n_threads=1)
    assert found.split == "1"
    assert found.metrics.n_clips == 12
    assert found.metrics.accuracy == finished.metrics["ema_accuracy"]
    expected = finished.metrics["ema_mean_average_precision"]
    assert found.metrics.mean_average_precision == pytest.approx(expected, abs=1e-6)
    json.dumps(found.to_dict())


def test_evaluation_of_other_parts(finished, corpus):
    assert train.evaluate(finished.folder, corpus, split="2").metrics.n_clips == 12
    assert train.evaluate(finished.folder, corpus, split="all").metrics.n_clips == 24
    assert train.evaluate(finished.folder / "last", corpus).split == "1"


def test_evaluation_on_other_data_takes_all_clips_and_refuses_unknown_labels(
    finished, corpus, tmp_path
):
    name = "1-A-0.wav"
    (tmp_path / name).write_bytes((corpus / "audio" / name).read_bytes())
    table = tmp_path / "own.csv"
    table.write_text(f"filename,label\n{name},low\n")
    found = train.evaluate(finished.folder, table, corpus="own")
    assert (found.split, found.metrics.n_clips) == (None, 1)
    assert found.metrics.left_out == ("middle", "high")
    table.write_text(f"filename,label\n{name},cow\n")
    with pytest.raises(DataError, match="does not know the label 'cow'"):
        train.evaluate(finished.folder, table, corpus="own")


def test_a_finished_run_is_not_repeated(finished, corpus, recipe):
    before = (finished.folder / "metrics.jsonl").read_bytes()
    again = train.fit(recipe, corpus, finished.folder, fold=1, progress=False)
    assert again.metrics == finished.metrics
    assert again.resumed_epoch == 4
    assert (finished.folder / "metrics.jsonl").read_bytes() == before


def test_another_recipe_is_refused_in_the_same_folder(finished, corpus, recipe):
    changed = override(recipe, ["epochs=9", "augment.mixup=0.1"])
    message = r"other settings \(recipe.augment.mixup: 0.5, now 0.1; recipe.epochs: 4, now 9\)"
    with pytest.raises(TrainingError, match=message):
        train.fit(changed, corpus, finished.folder, fold=1, progress=False)


def test_another_fold_is_refused_in_the_same_folder(finished, corpus, recipe):
    with pytest.raises(TrainingError, match=r"data.held_out: 1, now 2"):
        train.fit(recipe, corpus, finished.folder, fold=2, progress=False)


def test_an_existing_run_can_be_refused(finished, corpus, recipe):
    with pytest.raises(TrainingError, match="holds a run already"):
        train.fit(recipe, corpus, finished.folder, fold=1, resume=False, progress=False)


def test_two_runs_are_the_same_and_workers_make_no_difference(finished, corpus, recipe, tmp_path):
    train.fit(recipe, corpus, tmp_path / "a", fold=1, n_threads=1, n_workers=1, progress=False)
    assert_same_run(finished.folder, tmp_path / "a")


def test_a_list_of_clips_in_memory_is_the_data_set(finished, corpus, recipe, tmp_path):
    clips = open_manifest(corpus, "esc10")
    train.fit(recipe, clips, tmp_path / "a", fold=1, n_threads=1, progress=False)
    assert_same_run(finished.folder, tmp_path / "a")


def test_a_setting_that_there_is_not_is_refused(corpus, recipe, tmp_path):
    with pytest.raises(TypeError, match="unexpected keyword argument 'worker'"):
        train.fit(recipe, corpus, tmp_path, worker=1)


def test_another_seed_is_another_run(finished, corpus, recipe, tmp_path):
    other = override(recipe, ["seed=1", "epochs=1"])
    train.fit(other, corpus, tmp_path / "a", fold=1, n_threads=1, progress=False)
    assert curve(tmp_path / "a")[0]["loss"] != curve(finished.folder)[0]["loss"]


KILLED = """
import json, sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from audiomamba import recipes, train
from audiomamba.data import dataset
calls = 0
get = dataset.TrainingDataset.__getitem__
def slow(self, key):
    global calls
    calls += 1
    if calls == int(sys.argv[4]):
        print("now", flush=True)
        sys.stdin.read()
    return get(self, key)
dataset.TrainingDataset.__getitem__ = slow
recipe = recipes.from_dict(json.loads(sys.argv[1]))
train.fit(
    recipe,
    Path(sys.argv[2]),
    Path(sys.argv[3]),
    fold=1,
    n_threads=1,
    save_every_s=0,
    progress=False,
)
"""


@pytest.mark.parametrize(
    ("n_examples", "n_epochs", "n_steps"), [(3, 0, 0), (11, 0, 1), (31, 2, 0), (35, 2, 1)]
)
def test_killing_and_resuming_changes_nothing(
    finished, corpus, recipe, tmp_path, n_examples, n_epochs, n_steps
):
    """Epochs of 3 batches of 4: a state is saved before the second and the third, and at the end.

    With 35 examples read, batch 2 of epoch 3 is done, but only batch 1 is saved.
    """
    out = tmp_path / "killed"
    arguments = [json.dumps(recipes.to_dict(recipe)), str(corpus), str(out), str(n_examples)]
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"now\n"
        process.send_signal(signal.SIGKILL)
    assert len(curve(out)) == n_epochs
    result = train.fit(recipe, corpus, out, fold=1, n_threads=1, progress=False)
    assert (result.resumed_epoch, result.resumed_step) == (n_epochs, n_steps)
    assert_same_run(finished.folder, out)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_run_says_how_to_go_on(
    finished, corpus, recipe, tmp_path, monkeypatch, name
):
    add_epoch = Run.add_epoch

    def add_and_interrupt(self: Run, line: dict[str, float]) -> None:
        add_epoch(self, line)
        if line["epoch"] == 2:
            signal.raise_signal(signal.Signals[name])

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(Run, "add_epoch", add_and_interrupt)
    with pytest.raises(TrainingError, match=r"interrupted after epoch 2 of 4; the same call"):
        train.fit(recipe, corpus, tmp_path, fold=1, n_threads=1, progress=False)
    monkeypatch.undo()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    train.fit(recipe, corpus, tmp_path, fold=1, n_threads=1, progress=False)
    assert_same_run(finished.folder, tmp_path)


def test_metrics_of_an_epoch_without_a_state_are_written_again(
    finished, corpus, recipe, tmp_path, monkeypatch
):
    """A kill between the line of metrics and the state."""
    out = tmp_path / "killed"

    add_epoch = Run.add_epoch

    def add_and_fail(self: Run, line: dict[str, float]) -> None:
        add_epoch(self, line)
        if line["epoch"] == 2:
            raise RuntimeError("killed")

    monkeypatch.setattr(Run, "add_epoch", add_and_fail)
    with pytest.raises(RuntimeError, match="killed"):
        train.fit(recipe, corpus, out, fold=1, n_threads=1, progress=False)
    monkeypatch.undo()
    assert len(curve(out)) == 2
    train.fit(recipe, corpus, out, fold=1, n_threads=1, progress=False)
    assert_same_run(finished.folder, out)


def test_a_damaged_state_is_named(finished, corpus, recipe, tmp_path):
    record = json.loads((finished.folder / "run.json").read_text())
    del record["metrics"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    (tmp_path / "state.ckpt").write_bytes(b"not a state")
    with pytest.raises(TrainingError, match=r"state.ckpt: cannot be read; delete it"):
        train.fit(recipe, corpus, tmp_path, fold=1, progress=False)


def test_training_on_all_clips_holds_nothing_out(corpus, recipe, tmp_path):
    short = override(recipe, ["epochs=1"])
    result = train.fit(short, corpus, tmp_path / "all", train_on_all=True, progress=False)
    assert "accuracy" not in result.metrics
    record = json.loads((tmp_path / "all" / "run.json").read_text())
    assert (record["data"]["n_training"], record["data"]["n_held_out"]) == (24, 0)
    assert not (tmp_path / "all" / "best").exists()
    assert train.evaluate(tmp_path / "all", corpus).metrics.n_clips == 24


def test_a_fold_and_all_clips_exclude_each_other(corpus, recipe, tmp_path):
    with pytest.raises(ConfigError, match="choose one of them"):
        train.fit(recipe, corpus, tmp_path / "x", fold=1, train_on_all=True)


def test_mixed_precision_trains_too(corpus, recipe, tmp_path):
    short = override(recipe, ["epochs=1", "precision=bfloat16"])
    result = train.fit(short, corpus, tmp_path / "half", fold=1, progress=False)
    assert result.metrics["loss"] > 0
    assert next(checkpoints.load(tmp_path / "half").model.parameters()).dtype == torch.float32


def test_a_diverging_run_stops_and_names_the_clips(corpus, recipe, tmp_path):
    wild = override(recipe, ["learning_rate=1e30", "warmup_epochs=0", "label_smoothing=0"])
    with pytest.raises(TrainingError, match=r"not finite|loss is (nan|inf)"):
        train.fit(wild, corpus, tmp_path / "wild", fold=1, progress=False)


def test_a_broken_clip_is_named_before_training(recipe, tmp_path):
    for name in ("a/1.wav", "a/2.wav", "b/1.wav", "b/2.wav"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(0).standard_normal(6_000) * 0.1, 16_000)
    (tmp_path / "data" / "b" / "1.wav").write_bytes(b"this is no sound")
    own = override(recipe, ["corpus=own", "epochs=1"])
    with pytest.raises(AudioError, match=r"1\.wav"):
        train.fit(own, tmp_path / "data", tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_what_may_be_wrong_with_a_corpus_is_said_before_training(corpus, recipe, tmp_path, caplog):
    known = open_manifest(corpus, "esc10")
    path = tmp_path / "manifest.jsonl"
    write_manifest(path, replace(known, labels=(*known.labels, "nothing")))
    wild = override(recipe, ["learning_rate=1e30", "warmup_epochs=0"])
    with pytest.raises(TrainingError, match=r"not finite|loss is"):
        train.fit(wild, path, tmp_path / "run", fold=1, progress=False)
    assert caplog.text.count("no clip is labeled nothing; expected at least one per class") == 1
    caplog.clear()
    with pytest.raises(DataError, match="has no split '7'"):
        train.evaluate("general", path, split="7")
    assert "no clip is labeled nothing" in caplog.text


@pytest.mark.parametrize("name", ["1-A-0.wav", "2-A-0.wav"])
def test_headers_are_looked_at_where_nothing_else_reads_the_clips(
    corpus, recipe, tmp_path, monkeypatch, name
):
    """A held-out clip beyond those kept in memory, and a training clip that is not measured."""
    monkeypatch.setattr("audiomamba.train.fitting.task.EvaluationDataset", WithoutMemory)
    shutil.copytree(corpus, tmp_path / "data")
    (tmp_path / "data" / "audio" / name).write_bytes(b"this is no sound")
    given = override(recipe, ["measure_statistics=false", "epochs=1"])
    with pytest.raises(AudioError, match=name):
        train.fit(given, tmp_path / "data", tmp_path / "run", fold=1, progress=False)
    assert not (tmp_path / "run").exists()


class WithoutMemory(EvaluationDataset):
    """Held-out clips of which none is kept in memory; none may be decoded before the training."""

    def __init__(self, clips, targets, front_end, *, pad) -> None:
        super().__init__(clips, targets, front_end, budget_bytes=0, pad=pad)

    def __getitem__(self, place):
        raise AssertionError(f"clip {place} was decoded")


def test_cross_validation_trains_every_fold_and_goes_on_where_it_was(corpus, recipe, tmp_path):
    short = override(recipe, ["epochs=2"])
    result = train.cross_validate(short, corpus, tmp_path, jobs=2, n_threads=1, progress=False)
    assert [fold.fold for fold in result.folds] == [1, 2]
    assert (result.n_jobs, result.n_threads) == (2, 1)
    accuracies = [fold.ema_accuracy for fold in result.folds]
    assert result.ema_accuracy == pytest.approx(np.mean(accuracies))
    assert result.ema_accuracy_sd == pytest.approx(np.std(accuracies, ddof=1))
    assert json.loads((tmp_path / "cross_validation.json").read_text())["seed"] == 0
    table = (tmp_path / "cross_validation.md").read_text()
    assert f"| mean | {100 * result.accuracy:.1f} | {100 * result.ema_accuracy:.1f} |" in table

    train.fit(short, corpus, tmp_path / "alone", fold=2, n_threads=1, progress=False)
    assert curve(tmp_path / "alone") == curve(tmp_path / "fold-2")
    stamps = [(tmp_path / f"fold-{fold}" / "metrics.jsonl").stat().st_mtime for fold in (1, 2)]
    again = train.cross_validate(short, corpus, tmp_path, jobs=2, progress=False)
    assert again.folds == result.folds
    after = [(tmp_path / f"fold-{fold}" / "metrics.jsonl").stat().st_mtime for fold in (1, 2)]
    assert after == stamps


def test_cross_validation_says_which_fold_failed(corpus, recipe, tmp_path):
    wild = override(recipe, ["learning_rate=1e30", "warmup_epochs=0"])
    with pytest.raises(TrainingError, match=r"fold [12] failed: .*(not finite|loss is)"):
        train.cross_validate(wild, corpus, tmp_path, jobs=1, progress=False)


def test_a_fold_ends_with_the_process_that_started_it(corpus, recipe, tmp_path):
    long = tmp_path / "recipe.json"
    long.write_text(json.dumps(recipes.to_dict(override(recipe, ["epochs=10000"]))))
    arguments = [str(long), str(corpus), str(tmp_path / "run"), "1", "1", ""]
    process = subprocess.Popen(
        [sys.executable, "-m", "audiomamba.train.comparison.worker", *arguments],
        stdin=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "metrics.jsonl").exists():
        time.sleep(0.1)
        assert process.poll() is None
        if time.monotonic() > deadline:
            process.kill()
            pytest.fail("no epoch was done in two minutes")
    process.stdin.close()
    assert process.wait(timeout=20) == 1


def test_the_last_model_knows_what_is_familiar(corpus, recipe, tmp_path):
    changes = ["epochs=1", "ood_limit=3", "model_changes.dim=8"]
    train.fit(override(recipe, changes), corpus, tmp_path, fold=1, progress=False)
    found = checkpoints.load(tmp_path)
    assert found.ood_detector.limit == 3
    assert found.ood_detector.means.shape == (3, 8)
    tagger = infer.load(tmp_path)
    known = tagger.scores(min((corpus / "audio").glob("2-*")))
    strange = tagger.scores((np.sign(np.sin(np.arange(6_000) * 0.7)), 16_000))
    assert strange.max() < known.max()


def test_too_few_clips_to_know_what_is_familiar_are_refused(corpus, recipe, tmp_path):
    changes = override(recipe, ["epochs=1", "ood_limit=3"])
    with pytest.raises(ConfigError, match="12 training clips are too few"):
        train.fit(changes, corpus, tmp_path, fold=1, progress=False)
    assert not (tmp_path / "metrics.jsonl").exists()
