import csv
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiomamba import checkpoints, infer, train
from audiomamba.audio import FrontEnd
from audiomamba.data import read_manifest
from audiomamba.errors import ConfigError, DataError, TrainingError, UnknownNameError
from audiomamba.recipes import from_dict
from audiomamba.train.finetuning.auto_recipe import find_model, fitting_frames
from audiomamba.train.finetuning.head_first import HEAD_IS_ENOUGH
from audiomamba.train.fitting.module import TrainingModule

KINDS = (("wav", 16_000), ("flac", 22_050), ("ogg", 48_000), ("mp3", 44_100), ("wav", 8_000))
SMALL = (
    "model_changes.stem=8,8,8",
    "model_changes.dim=32",
    "model_changes.depth=1",
    "epochs=16",
    "learning_rate=0.003",
    "augment.negatives=0",
    "augment.mixup=0",
    "augment.speed=1,1",
    "batch_size=4",
    "warmup_epochs=1",
    "precision=float32",
)
TONES_HZ = {"high": 2_500.0, "low": 250.0}


def tone(hz: float, seed: int, seconds: float = 0.6, rate: int = 16_000) -> np.ndarray:
    """A tone in noise."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate)) / rate
    sound: np.ndarray = 0.3 * np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * time_s)
    return sound + 0.02 * rng.standard_normal(len(time_s))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips each of two kinds, in mixed formats and rates, and two files that are broken."""
    folder = tmp_path_factory.mktemp("mine")
    for label, hz in TONES_HZ.items():
        (folder / label).mkdir()
        for take in range(10):
            suffix, rate = KINDS[take % len(KINDS)]
            sound = tone(hz, take, rate=rate)
            soundfile.write(folder / label / f"{take}.{suffix}", sound, rate)
    (folder / "high" / "broken.wav").write_bytes(b"not a recording" * 100)
    whole = (folder / "low" / "1.flac").read_bytes()
    (folder / "low" / "cut.flac").write_bytes(whole[:100])
    return folder


@pytest.fixture(scope="module")
def tuned(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> train.FinetuneResult:
    """A small model from fresh weights."""
    out = tmp_path_factory.mktemp("runs") / "tuned"
    return train.finetune(
        folder, out, model="conv_aum_tiny", changes=SMALL, n_threads=1, progress=False
    )


def test_a_folder_with_broken_files_becomes_a_tagger_and_they_are_named(tuned, folder):
    assert [Path(reason.partition(": ")[0]) for reason in tuned.skipped] == [
        folder / "high" / "broken.wav",
        folder / "low" / "cut.flac",
    ]
    assert (tuned.n_training, tuned.held_out.metrics.n_clips) == (16, 4)  # nothing else is lost
    assert tuned.held_out.metrics.accuracy == 1.0
    tagger = infer.load(str(tuned.folder))
    for label, hz in TONES_HZ.items():
        tags = tagger.tag((tone(hz, 99).astype(np.float32), 16_000))
        assert tags[0].label == label
        assert tags[0].score >= tuned.thresholds[label]
    assert tagger.thresholds == tuned.thresholds


def test_what_is_chosen_suits_the_clips(tuned):
    recipe = tuned.recipe
    assert recipe.loss == "ce"
    assert recipe.front_end.n_frames == 64  # 0.6 s, and not the front end's 5 s
    saved = checkpoints.load(tuned.folder)
    assert saved.scores == "softmax"
    assert saved.front_end.mean != FrontEnd().mean  # measured, as the weights are fresh
    assert from_dict(json.loads((tuned.folder / "finetune.json").read_text())["recipe"]) == recipe


def test_the_time_holds_on_a_machine_that_gets_slower(folder, tmp_path, monkeypatch):
    """Steps take a hundred times as long as when they were measured."""
    end = TrainingModule.end_batch

    def slow(self, *arguments) -> None:
        time.sleep(0.3)
        end(self, *arguments)

    monkeypatch.setattr(TrainingModule, "end_batch", slow)
    changes = [change for change in SMALL if not change.startswith("epochs")]
    tuned = train.finetune(
        folder,
        tmp_path / "run",
        model="conv_aum_tiny",
        minutes=0.2,
        changes=changes,
        n_threads=1,
        progress=False,
    )
    assert tuned.seconds < 14
    assert 1 <= tuned.n_epochs < tuned.recipe.epochs / 2
    lines = (tuned.folder / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["learning_rate"] < 0.1 * tuned.recipe.learning_rate


def test_several_processes_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="start this command without torchrun"):
        train.finetune(folder, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_the_same_call_again_gives_the_same_and_another_is_refused(tuned, folder):
    call = {"model": "conv_aum_tiny", "n_threads": 1, "progress": False}
    before = (tuned.folder / "metrics.jsonl").read_bytes()
    again = train.finetune(folder, tuned.folder, changes=SMALL, **call)
    assert again.thresholds == tuned.thresholds
    assert (tuned.folder / "metrics.jsonl").read_bytes() == before
    with pytest.raises(TrainingError, match="made with other settings"):
        train.finetune(folder, tuned.folder, changes=("epochs=2",), **call)


def test_evaluate_takes_the_held_out_clips_of_a_finetuned_model(tuned, folder):
    found = train.evaluate(tuned.folder, folder / "low" / ".." / ".." / folder.name, split=None)
    assert (found.split, found.metrics.n_clips) == ("valid", 4)
    assert found.metrics.accuracy == tuned.held_out.metrics.accuracy
    everything = train.evaluate(tuned.folder, folder, split="all", n_resamples=0)
    assert everything.metrics.n_clips == 20
    assert len(everything.failed) == 2
    assert everything.intervals == {}


def test_a_call_that_was_killed_goes_on(folder, tmp_path):
    out, settings = tmp_path / "run", [part for change in SMALL for part in ("--set", change)]
    command = [sys.executable, "-m", "audiomamba", "finetune", "--data", str(folder)]
    command += ["--out", str(out), "--model", "conv_aum_tiny", "--threads", "1", *settings]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / "state.ckpt").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "config.json").is_file()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1  # for the two broken files
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == ["audiomamba"] * 2
    assert "broken.wav" in done.stderr
    assert "cut.flac" in done.stderr
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 16
    assert (out / "config.json").is_file()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips with no label, one or both, from six speakers."""
    folder = tmp_path_factory.mktemp("table")
    rows = []
    for speaker in range(6):
        for place, labels in enumerate(("", "high", "low", "high;low")):
            hz = [TONES_HZ[label] for label in labels.split(";") if label]
            sound = sum((tone(one, speaker) for one in hz), 0.02 * tone(600.0, speaker))
            name = f"{speaker}-{place}.wav"
            soundfile.write(folder / name, 0.5 * np.asarray(sound), 16_000)
            rows.append((name, labels, f"speaker-{speaker}"))
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("filename", "labels", "group"), *rows])
    return folder / "clips.csv"


def test_a_probe_of_several_labels_keeps_the_encoder_and_divides_by_group(table, tmp_path):
    tuned = train.finetune(table, tmp_path / "probe", probe=True, n_threads=1)
    shipped, saved = checkpoints.load(checkpoints.find("general")), checkpoints.load(tuned.folder)
    assert (saved.labels, saved.scores, saved.ood_detector) == (("high", "low"), "sigmoid", None)
    assert saved.front_end == shipped.front_end
    old, new = shipped.model.state_dict(), saved.model.state_dict()
    assert all(torch.equal(old[key], new[key]) for key in old if not key.startswith("head"))
    assert tuned.held_out.metrics.mean_average_precision > 0.9
    parts = read_manifest(tuned.folder / "manifest.jsonl")
    groups = [set(parts.select(name).groups()) for name in ("train", "valid")]
    assert all(groups)
    assert not groups[0] & groups[1]


def test_a_start_from_the_model_that_ships_keeps_its_front_end(table, tmp_path):
    tuned = train.finetune(
        table, tmp_path / "tuned", changes=("epochs=1",), n_threads=1, progress=False
    )
    shipped, saved = checkpoints.load(checkpoints.find("general")), checkpoints.load(tuned.folder)
    assert tuned.recipe.loss == "bce"
    assert (saved.front_end.mean, saved.front_end.std) == (
        shipped.front_end.mean,
        shipped.front_end.std,
    )
    assert saved.front_end.n_frames < shipped.front_end.n_frames


def test_a_head_that_is_right_about_most_clips_is_enough(folder, tmp_path):
    tuned = train.finetune(folder, tmp_path / "tuned", n_threads=1, progress=False)
    assert (tuned.recipe, tuned.n_epochs) == (None, 0)
    assert tuned.held_out.metrics.accuracy >= HEAD_IS_ENOUGH
    shipped, saved = checkpoints.load(checkpoints.find("general")), checkpoints.load(tuned.folder)
    assert (saved.labels, saved.scores, saved.hidden) == (("high", "low"), "softmax", ())
    assert saved.thresholds == tuple(tuned.thresholds.values())
    old, new = shipped.model.state_dict(), saved.model.state_dict()
    assert all(torch.equal(old[key], new[key]) for key in old if not key.startswith("head"))
    again = train.finetune(folder, tmp_path / "tuned", n_threads=1, progress=False)
    assert again.held_out.metrics == tuned.held_out.metrics


@pytest.mark.parametrize(("rate", "kept"), [("1e-7", "all layers"), ("0.03", "head")])
def test_all_layers_start_from_the_head_which_stays_if_it_is_better(
    folder, tmp_path, monkeypatch, rate, kept
):
    def interrupted(*_arguments: object, **_settings: object) -> None:
        raise KeyboardInterrupt

    changes = ("epochs=1", f"learning_rate={rate}", "warmup_epochs=0", "clip_norm=none")
    call = {"changes": changes, "n_threads": 1, "progress": False}
    with monkeypatch.context() as patch:
        patch.setattr("audiomamba.train.finetuning.finetune.resume_or_train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train.finetune(folder, tmp_path / "tuned", **call)
    made_ns = (tmp_path / "tuned" / "head" / "model.safetensors").stat().st_mtime_ns
    tuned = train.finetune(folder, tmp_path / "tuned", **call)
    assert (tuned.folder / "head" / "model.safetensors").stat().st_mtime_ns == made_ns
    facts = json.loads((tuned.folder / "finetune.json").read_text("utf-8"))
    head = checkpoints.load(tuned.folder / "head")
    assert facts["recipe"]["init"] == str(tuned.folder / "head")
    assert head.labels == ("high", "low")
    assert json.loads((tuned.folder / "run.json").read_text("utf-8"))["start"]["fresh"] == []
    assert (tuned.recipe is None, tuned.n_epochs) == ((kept == "head"), int(kept == "all layers"))
    saved = checkpoints.load(tuned.folder).model.state_dict()
    same = all(torch.equal(saved[key], it) for key, it in head.model.state_dict().items())
    assert same == (kept == "head")


def test_out_of_distribution_detection_is_fitted_to_the_model_that_is_kept(folder, tmp_path):
    changes = (*SMALL, "epochs=1", "ood_limit=3", "model_changes.dim=8")
    tuned = train.finetune(
        folder,
        tmp_path / "tuned",
        model="conv_aum_tiny",
        changes=changes,
        n_threads=1,
        progress=False,
    )
    saved = checkpoints.load(tuned.folder)
    assert saved.ood_detector is not None
    assert saved.ood_detector.limit == 3
    tags = infer.load(str(tuned.folder)).tag((np.zeros(9_600, np.float32), 16_000))
    assert sum(tag.score for tag in tags) < 1


def test_too_few_clips_and_classes_are_refused_in_one_line(folder, tmp_path):
    rows = "".join(f"{folder}/high/{take}.{KINDS[take][0]},high\n" for take in range(4))
    path = tmp_path / "few.csv"
    path.write_text("filename,label\n" + rows)
    with pytest.raises(DataError, match="all clips are labeled 'high'; expected at least 2"):
        train.finetune(path, tmp_path / "one")
    rows += "".join(f"{folder}/low/{take}.{KINDS[take][0]},low\n" for take in range(5))
    path.write_text("filename,label\n" + rows)
    with pytest.raises(DataError, match="'high' has 4; expected at least 5 clips per class"):
        train.finetune(path, tmp_path / "two")


def test_wrong_calls_are_refused(folder, tmp_path):
    with pytest.raises(UnknownNameError, match="unknown model 'generl'"):
        train.finetune(folder, tmp_path / "a", model="generl")
    with pytest.raises(ConfigError, match="minutes is 0; expected a number above 0"):
        train.finetune(folder, tmp_path / "b", minutes=0)
    with pytest.raises(ConfigError, match="has fresh weights, and a probe"):
        train.finetune(folder, tmp_path / "c", model="aum_tiny", probe=True)
    with pytest.raises(ConfigError, match="a recipe, which a probe has none of"):
        train.finetune(folder, tmp_path / "d", probe=True, changes=("epochs=3",))
    assert not list(tmp_path.iterdir())


def test_a_named_model_is_found_for_what_was_trained(tuned):
    start = find_model(str(tuned.folder), trained=True)
    assert start.model == "conv_aum_tiny"
    assert start.changes == {"stem": (8, 8, 8), "dim": 32, "depth": 1}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1.0, 112), (5.0, 496), (10.0, 992), (60.0, 1024), (0.1, 32), (math.nan, 512)],
)
def test_the_input_is_as_long_as_the_clips(seconds, expected):
    front_end = FrontEnd(n_frames=512)
    assert fitting_frames(np.full(9, seconds), front_end) == expected
