"""Distillation without labels: real recordings, a real teacher, runs that are killed and go on."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import audiomamba
from audiomamba import checkpoints, data, models
from audiomamba.audio import FrontEnd
from audiomamba.data import Clip, Clips
from audiomamba.errors import ConfigError, DataError, TrainingError
from audiomamba.recipes.mixtures import Degradation, Mixtures
from audiomamba.recipes.student import StudentRecipe
from audiomamba.train.distillation.degradation import degrade
from audiomamba.train.distillation.examples import ExampleCount, hold_out, make_examples
from audiomamba.train.distillation.mixing import Mixer
from audiomamba.train.distillation.pool import Pool
from audiomamba.train.distillation.student import STATE, read_state, train_student
from audiomamba.train.distillation.student_export import export_student
from audiomamba.train.distillation.teacher_model import TeacherModel

RECORDINGS = Path(__file__).parents[2] / "demo/recordings"
MIXTURES = Mixtures(
    windows=2,
    lengths_s=(2.0, 1.0),
    length_weights=(1.0, 1.0),
    short_s=2.0,
    count_weights=(1.0, 1.0),
)
COUNT = ExampleCount(n_training=2, n_held_out=1, per_shard=16)
SMALL = {"width": 0.1, "dim": 16, "depth": 1, "head": "linear"}
RECIPE = StudentRecipe(
    model_changes=SMALL,
    start=False,
    frozen=None,
    steps=8,
    batch_size=4,
    warmup_steps=2,
    look_every=4,
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> data.Manifest:
    to = tmp_path_factory.mktemp("manifest")
    return data.prepare_collection(RECORDINGS, to, n_workers=1).manifest


@pytest.fixture(scope="module")
def examples(manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    made = make_examples(manifest, "general", folder, COUNT, mixtures=MIXTURES)
    assert made.n_made == 48
    assert sum(made.n_recordings) == len(manifest.clips)
    return folder


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.safetensors"))


def test_what_is_there_is_not_made_again_and_what_is_missing_comes_out_the_same(manifest, examples):
    lost = examples / "training/0000-00001.safetensors"
    before, times = load_file(lost), {it: it.stat().st_mtime_ns for it in shards(examples)}
    lost.unlink()
    made = make_examples(manifest, "general", examples, COUNT, mixtures=MIXTURES)
    assert made.n_made == 16
    after = load_file(lost)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert [it for it in times if it.stat().st_mtime_ns != times[it]] == [lost]


def test_shards_of_one_seed_differ_and_hold_what_they_should(examples):
    first, second = (load_file(it) for it in sorted((examples / "training").glob("*.safetensors")))
    assert first["logits"].shape == (16, 527)
    assert first["embeddings"].shape == (16, 384)
    assert not torch.equal(first["logits"], second["logits"])
    assert set(first["frames"].tolist()) == {100, 200}
    assert len(first["features"]) == first["frames"].sum()
    assert all(it.dtype == torch.float16 for it in (first["features"], first["logits"]))


def test_other_mixtures_or_another_teacher_do_not_go_into_the_same_folder(manifest, examples):
    with pytest.raises(TrainingError, match="have another mixtures"):
        make_examples(manifest, "general", examples, COUNT, mixtures=replace(MIXTURES, windows=3))


def test_a_teacher_gives_independent_labels_for_any_length(tmp_path):
    model = models.create("cnn_small", n_classes=2, n_mels=32, n_frames=48)
    front_end = FrontEnd(n_mels=32, n_frames=48)
    checkpoints.save(
        tmp_path,
        checkpoints.Checkpoint(
            name="one", model=model, front_end=front_end, labels=("a", "b"), scores="softmax"
        ),
    )
    with pytest.raises(ConfigError, match="gives softmax scores"):
        TeacherModel(str(tmp_path))


def test_whole_sources_are_held_out():
    clips = Clips(Clip(path=Path(f"{i}.wav"), labels=(), group=f"g{i % 40}") for i in range(400))
    training, held_out = hold_out(clips)
    assert len(training) + len(held_out) == 400
    assert set(training.groups()).isdisjoint(held_out.groups())
    assert 10 <= len(held_out) <= 120


def test_recordings_of_one_source_are_held_out_one_by_one():
    clips = Clips(Clip(path=Path(f"{i}.wav"), labels=(), group="all") for i in range(200))
    training, held_out = hold_out(clips)
    assert len(training) > len(held_out) > 5


def test_nothing_left_to_hold_out_is_an_error_before_the_work(tmp_path):
    manifest = data.Manifest(labels=(), clips=[Clip(path=RECORDINGS / "dog.ogg", labels=())])
    with pytest.raises(DataError, match="no source is left for held-out examples"):
        make_examples(manifest, "general", tmp_path, COUNT, mixtures=MIXTURES)
    assert not (tmp_path / "training").exists()


def test_rare_labels_are_drawn_as_often_as_frequent_ones(examples):
    pool, labels = Pool(examples / "pool/training"), TeacherModel("general").checkpoint.labels
    frequent = np.zeros((len(pool.windows), len(labels)), np.float32)
    frequent[:, labels.index("Bird")] = 0.9
    frequent[0] = 0
    frequent[0, labels.index("Cat")] = 0.9
    pool.scores = frequent
    settings = replace(MIXTURES, by_label=1.0, common=None, label_cap=1)
    draw = np.random.default_rng(0)
    mixer = Mixer(pool, settings, labels, 32_000)
    names = [name for _ in range(60) for name in mixer.mix(draw).names]
    rare = names.count(pool.names[pool.windows[0].recording]) / len(names)
    assert len(pool.windows) > 12
    assert 0.35 < rare < 0.75


def test_a_mixture_has_its_length_and_its_peak(examples):
    pool = Pool(examples / "pool/training")
    mixer = Mixer(pool, MIXTURES, TeacherModel("general").checkpoint.labels, 32_000)
    draw = np.random.default_rng(1)
    for _ in range(12):
        mixed = mixer.mix(draw)
        assert len(mixed.sound) in (32_000, 64_000)
        assert 10 ** (-14.01 / 20) <= np.abs(mixed.sound).max() <= 1
        assert 1 <= len(mixed.names) <= 2


NOTHING = Degradation(gain=0, tilt=0, band=0, clipped=0)


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        (NOTHING, np.array_equal),
        (
            replace(NOTHING, gain=1, gain_db=(-20.0, -20.0)),
            lambda old, new: level(new) < 0.11 * level(old),
        ),
        (
            replace(NOTHING, clipped=1),
            lambda old, new: np.abs(new).max() == 1 and level(new) > level(old),
        ),
        (
            replace(NOTHING, band=1, band_hz=(4000.0,)),
            lambda old, new: (
                above(new, 5000) < 0.01 * above(old, 5000)
                and below(new, 3000) > 0.99 * below(old, 3000)
            ),
        ),
        (
            replace(NOTHING, tilt=1),
            lambda old, new: 0.3 < level(new) / level(old) < 3 and not np.array_equal(old, new),
        ),
    ],
    ids=["nothing", "gain", "clipped", "band", "tilt"],
)
def test_degradation_does_what_it_says(settings, changes):
    sound = np.random.default_rng(0).uniform(-0.9, 0.9, 32_000).astype(np.float32)
    found = degrade(np.random.default_rng(1), sound, 32_000, settings)
    assert found.dtype == np.float32
    assert changes(sound, found)


def level(sound: np.ndarray) -> float:
    return float(np.sqrt(np.square(sound).mean()))


def above(sound: np.ndarray, hz: int) -> float:
    return float(np.square(np.abs(np.fft.rfft(sound))[hz:]).sum())


def below(sound: np.ndarray, hz: int) -> float:
    return float(np.square(np.abs(np.fft.rfft(sound))[:hz]).sum())


def test_a_student_learns(examples, tmp_path):
    run = train_student(examples, "general", tmp_path, replace(RECIPE, steps=30))
    first = train_student(examples, "general", tmp_path / "first", replace(RECIPE, steps=2))
    assert run.steps == 30
    assert run.examples == 32
    assert run.loss < 0.9 * first.loss


def test_frozen_weights_stay_and_taken_ones_are_the_teachers(examples, tmp_path):
    config = TeacherModel("general").checkpoint.model.config
    changes = {"n_blocks": config.n_blocks, "dim": config.dim, "depth": config.depth}
    recipe = StudentRecipe(model_changes=changes, steps=2, batch_size=2, warmup_steps=1)
    train_student(examples, "general", tmp_path, recipe)
    student = read_state(tmp_path / STATE)["student"]
    teacher = TeacherModel("general").checkpoint.model.state_dict()
    assert torch.equal(
        student["blocks.3.project.conv.weight"], teacher["blocks.3.project.conv.weight"]
    )
    for name in ("blocks.4.project.conv.weight", "layers.0.mixer.A_log", "head.output.bias"):
        assert not torch.equal(student[name], teacher[name])
        assert (student[name] - teacher[name]).abs().max() < 0.01


def test_files_that_are_added_are_taken_in_at_a_step(manifest, tmp_path):
    folder = tmp_path / "growing"
    make_examples(
        manifest, "general", folder, ExampleCount(n_training=1, per_shard=4), mixtures=MIXTURES
    )
    recipe = replace(RECIPE, batch_size=2, steps=8)
    out = tmp_path / "run"

    def add(done: int, _: int) -> None:
        if done == 2:
            count = ExampleCount(n_training=2, per_shard=4)
            make_examples(manifest, "general", folder, count, mixtures=MIXTURES)

    run = train_student(folder, "general", out, recipe, progress=add)
    assert run.examples == 8
    assert read_state(out / STATE)["shards"] == ["0000-00000.safetensors", "0000-00001.safetensors"]


def start(examples: Path, out: Path) -> "subprocess.Popen[bytes]":
    """Train in another process, which saves every third of a second."""
    changes = [f"model_changes.{name}={value}" for name, value in SMALL.items()]
    changes += ["start=false", "frozen=none", "steps=40", "batch_size=4", "warmup_steps=2"]
    command = [sys.executable, "-m", "audiomamba", "distill", "train", str(examples), "--teacher"]
    command += ["general", "--out", str(out), "--threads", "1", "--save-every", "0.3"]
    environment = os.environ | {"PYTHONPATH": str(Path(audiomamba.__file__).parents[1])}
    return subprocess.Popen(
        [*command, *(it for one in [*changes, "look_every=4"] for it in ("--set", one))],
        env=environment,
    )


def test_a_run_that_was_killed_gives_what_it_would_have_given(examples, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(examples, killed)
    while process.poll() is None and not (killed / STATE).exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < read_state(killed / STATE)["step"] < 40
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for out in (killed, whole):
            assert train_student(examples, "general", out, replace(RECIPE, steps=40)).steps == 40
    finally:
        torch.set_num_threads(n_threads)
    one, other = (read_state(it / STATE) for it in (whole, killed))
    for part in ("student", "average"):
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())
    lines = [(it / "metrics.jsonl").read_text("utf-8").count("\n") for it in (whole, killed)]
    assert lines == [1, 1]


def test_another_recipe_does_not_go_on_with_a_run(examples, tmp_path):
    train_student(examples, "general", tmp_path, replace(RECIPE, steps=1))
    with pytest.raises(TrainingError, match="a run with another recipe"):
        train_student(examples, "general", tmp_path, replace(RECIPE, steps=2))


def test_no_examples_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="no examples there"):
        train_student(tmp_path / "examples", "general", tmp_path / "run", RECIPE)


def test_a_damaged_state_is_named(examples, tmp_path):
    train_student(examples, "general", tmp_path, replace(RECIPE, steps=1))
    (tmp_path / STATE).write_bytes(b"no state")
    with pytest.raises(TrainingError, match=f"{STATE}: cannot be read; delete it to start over"):
        train_student(examples, "general", tmp_path, replace(RECIPE, steps=1))


def test_a_student_of_another_embedding_is_refused(examples, tmp_path):
    recipe = replace(RECIPE, model_changes=SMALL | {"embed_dim": 40})
    with pytest.raises(ConfigError, match=r"embeddings of 40 numbers; expected .* with 384"):
        train_student(examples, "general", tmp_path, recipe)


def test_a_student_is_handed_over_as_a_tagger(examples, tmp_path):
    run, to = tmp_path / "run", tmp_path / "tagger"
    train_student(examples, "general", run, RECIPE)
    found = export_student(run, examples, "general", to, trust=["Meow"], license="MIT")
    assert found.n_examples == 16
    assert "Meow" in found.trusted
    tagger = audiomamba.load(to)
    assert set(tagger.labels) == set(found.trusted)
    everything = audiomamba.load(to, all_labels=True)
    assert len(everything.labels) == 527
    assert all(0.05 <= value <= 0.6 for value in everything.thresholds.values())
    assert everything.tag(RECORDINGS / "dog.ogg")[0].score > 0
    mean = read_state(run / STATE)["average"]["head.bias"].half().float()
    assert torch.equal(everything.model.state_dict()["head.bias"], mean)


def test_a_trusted_label_is_one_of_the_teachers(examples, tmp_path):
    train_student(examples, "general", tmp_path, replace(RECIPE, steps=1))
    with pytest.raises(ConfigError, match="'Moo moo' is to be trusted"):
        export_student(tmp_path, examples, "general", tmp_path / "to", trust=["Moo moo"])
