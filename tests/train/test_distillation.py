import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from audiomamba import checkpoints, train
from audiomamba.data import ClipCache, Example, TrainingDataset, collate, open_manifest
from audiomamba.data.clip_reader import load_clip
from audiomamba.errors import ConfigError, TrainingError, UnknownNameError
from audiomamba.recipes import Recipe, override
from audiomamba.train.distillation.targets import DistillationTargets, leak_warnings, open_targets
from audiomamba.train.distillation.teachers import Teacher
from audiomamba.train.fitting import processes
from audiomamba.train.fitting.losses import label_loss, smooth, soften
from audiomamba.train.fitting.module import TrainingModule
from audiomamba.train.run import Run
from audiomamba.train.split import Split, split_clips

PLAIN = (
    *("augment.speed=1,1", "augment.roll=false", "augment.gain_db=0", "augment.mixup=0"),
    *("augment.negatives=0", "augment.short_clips=pad"),
)


@pytest.fixture(scope="module")
def folder(save_random, tmp_path_factory) -> Path:
    """A teacher that names the classes in another order."""
    path = tmp_path_factory.mktemp("teacher")
    return save_random(path, labels=("high", "other", "low", "middle"))


@pytest.fixture
def taught(recipe, folder) -> Recipe:
    """The recipe without augmentation, with a teacher."""
    return override(recipe, [*PLAIN, f"distillation.teachers={folder}"])


def example_of(
    recipe: Recipe, corpus: Path, epoch: int = 0
) -> tuple[DistillationTargets, Example, Split, tuple[str, ...]]:
    """All training clips as a batch that is made for distillation."""
    manifest = open_manifest(corpus, "esc10")
    parts = split_clips(manifest, "1", 0)
    distillation = open_targets(recipe, manifest, parts)
    assert distillation is not None
    targets = distillation.label_vectors(manifest.label_vectors(parts.training))
    cache = ClipCache(parts.training, recipe.front_end.sample_rate)
    clips = TrainingDataset(cache, targets, recipe.front_end, recipe.augment, recipe.seed)
    batch = collate([clips[epoch, place] for place in range(len(clips))])
    return distillation, batch, parts, manifest.labels


def said_of(recipe: Recipe, batch: Example, labels: tuple[str, ...]) -> torch.Tensor:
    """What the first teacher says of the waveforms of a batch, softened."""
    teacher = Teacher("t", Path(recipe.distillation.teachers[0]), labels, recipe.loss)
    logits = teacher.answer(teacher.hear(batch.waveform, batch.n_samples, 16_000))
    return soften(logits, recipe.loss, recipe.distillation.temperature).clone()


def test_without_teachers_there_are_no_lessons(recipe, corpus):
    manifest = open_manifest(corpus, "esc10")
    assert open_targets(recipe, manifest, split_clips(manifest, "1", 0)) is None


@pytest.mark.parametrize("loss", ["bce", "ce"])
@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("augment.mixup=0.8", "augment.mixup_of=features", "augment.mixup_alpha=1"),
        ("augment.cutmix=0.8",),
        ("augment.negatives=0.5", "augment.cutmix=0.5"),
    ],
    ids=["plain", "feature mixup", "cutmix", "negatives"],
)
def test_what_is_kept_equals_what_is_said_of_clips_as_they_are(
    taught, corpus, tmp_path, loss, changes
):
    recipe = override(taught, [f"loss={loss}", "distillation.temperature=2", *changes])
    distillation, batch, *_ = example_of(recipe, corpus)
    example, heard = distillation.for_batch(batch)
    kept_recipe = override(recipe, [f"distillation.cache={tmp_path}"])
    distillation, batch, *_ = example_of(kept_recipe, corpus)
    same, kept = distillation.for_batch(batch)
    torch.testing.assert_close(heard, kept, rtol=0, atol=2e-3)
    assert torch.equal(example.target, same.target)
    assert example.target.shape == heard.shape == (12, 3)
    assert heard.std(dim=0).min() > 0.01


def test_a_mixture_of_waveforms_is_heard_as_such(taught, corpus):
    recipe = override(taught, ["augment.mixup=1", "augment.gain_db=6", "augment.speed=0.8,1.25"])
    distillation, batch, _, labels = example_of(recipe, corpus)
    example, heard = distillation.for_batch(batch)
    assert (example.target.amax(dim=1) < 0.9).any()
    torch.testing.assert_close(heard, said_of(recipe, batch, labels))


@pytest.mark.parametrize("change", ["augment.mixup=1", "augment.cutmix=1", "augment.negatives=0.5"])
def test_what_is_kept_is_mixed_as_labels_are(taught, corpus, change):
    """Shown with teachers that say of every clip what its label says."""
    recipe = override(taught, [change, "augment.mixup_alpha=1"])
    manifest = open_manifest(corpus, "esc10")
    clips = split_clips(manifest, "1", 0).training
    labels = manifest.label_vectors(clips)
    answers = (80 * labels.dense() - 40).astype(np.float16)
    distillation = DistillationTargets(recipe, 3, (), answers)
    cache = ClipCache(clips, 16_000)
    vectors = distillation.label_vectors(labels)
    examples = TrainingDataset(cache, vectors, recipe.front_end, recipe.augment, 0)
    batch = collate([examples[0, place] for place in range(len(clips))])
    example, found = distillation.for_batch(batch)
    assert (example.target.amax(dim=1) < 0.9).any()
    torch.testing.assert_close(found, example.target)


@pytest.mark.parametrize("cached", [False, True])
def test_nothing_is_learned_of_sounds_of_no_class_but_the_label(taught, corpus, tmp_path, cached):
    changes = ["augment.negatives=0.5", "loss=ce"]
    if cached:
        changes.append(f"distillation.cache={tmp_path}")
    distillation, batch, *_ = example_of(override(taught, changes), corpus)
    example, said = distillation.for_batch(batch)
    foreign = example.target.sum(dim=1) == 0
    assert 0 < foreign.sum() < 12
    assert said[foreign].abs().max() == 0
    torch.testing.assert_close(said[~foreign].sum(dim=1), torch.ones(int((~foreign).sum())))


def test_logits_of_several_teachers_are_averaged(taught, save_random, corpus, tmp_path):
    second = save_random(tmp_path / "second", seed=3)
    names = f"{taught.distillation.teachers[0]},{second}"
    recipe = override(taught, [f"distillation.teachers={names}", "loss=ce"])
    distillation, batch, _, labels = example_of(recipe, corpus)
    found = distillation.for_batch(batch)[1]
    answers = []
    for name in recipe.distillation.teachers:
        teacher = Teacher(name, Path(name), labels, "ce")
        answers.append(teacher.answer(teacher.hear(batch.waveform, batch.n_samples, 16_000)))
    torch.testing.assert_close(found, ((answers[0] + answers[1]) / 2).softmax(dim=1).clone())
    assert not torch.allclose(found, answers[0].softmax(dim=1), atol=0.01)
    kept = override(recipe, [f"distillation.cache={tmp_path / 'kept'}"])
    distillation, batch, *_ = example_of(kept, corpus)
    torch.testing.assert_close(distillation.for_batch(batch)[1], found, rtol=0, atol=2e-3)


@pytest.mark.parametrize("loss", ["bce", "ce"])
def test_a_training_step_adds_both_losses(taught, corpus, loss):
    changes = [f"loss={loss}", "distillation.weight=0.3", "model_changes.drop_path=0"]
    recipe = override(taught, changes)
    distillation, batch, parts, labels = example_of(recipe, corpus)
    torch.manual_seed(0)
    model = checkpoints.load(recipe.distillation.teachers[0]).model.train()
    model.reset_head(3)
    names = parts.training.names
    module = TrainingModule(model, recipe, recipe.front_end, 1, names, distillation=distillation)
    found = module(batch, 0)
    example, said = distillation.for_batch(batch)
    logits = module.model(module._features(example))
    by_labels = label_loss(logits, smooth(example.target, 0.1), loss)
    torch.testing.assert_close(said, said_of(recipe, batch, labels))
    expected = distillation.blend(by_labels, logits, said)
    torch.testing.assert_close(found, expected)
    found.backward()
    assert all(weight.grad is not None for weight in module.model.parameters())
    assert {name.split(".")[0] for name in module.state_dict()} == {"model", "average"}


def trained(recipe: Recipe, corpus: Path, out: Path) -> train.RunResult:
    return train.fit(recipe, corpus, out, fold=1, n_threads=1, progress=False)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoints.load(folder / "last").model.state_dict()


@pytest.mark.parametrize("cached", [False, True])
def test_a_resumed_run_ends_as_if_it_had_not_been_interrupted(
    recipe, folder, corpus, tmp_path, monkeypatch, caplog, cached
):
    changes = [f"distillation.teachers={folder}", "epochs=2"]
    if cached:
        changes.append(f"distillation.cache={tmp_path / 'kept'}")
    asked = override(recipe, changes)
    whole = trained(asked, corpus, tmp_path / "whole")
    add_epoch = Run.add_epoch

    def add_and_fail(self: Run, line: dict[str, float]) -> None:
        add_epoch(self, line)
        raise RuntimeError("killed")

    monkeypatch.setattr(Run, "add_epoch", add_and_fail)
    with pytest.raises(RuntimeError, match="killed"):
        train.fit(
            asked, corpus, tmp_path / "cut", fold=1, n_threads=1, save_every_s=0, progress=False
        )
    monkeypatch.undo()
    result = trained(asked, corpus, tmp_path / "cut")
    assert (result.resumed_epoch, result.resumed_step) == (0, 2)
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(one[name], other[name]) for name in one)
    state = torch.load(tmp_path / "cut" / "state.ckpt", weights_only=True)["state_dict"]
    assert {name.split(".")[0] for name in state} == {"model", "average"}
    record = json.loads((whole.folder / "run.json").read_text())
    assert record["teachers"] == {str(folder): checkpoints.fingerprint(folder)}
    notes = checkpoints.load(whole.folder).notes
    assert notes["teachers"] == str(folder)
    assert notes["teachers have heard the held-out clips"] == "unknown"
    assert "does not say whether it has learned from the clips" in caplog.text


def test_a_student_comes_to_say_what_its_teacher_says(taught, corpus, tmp_path):
    """Without labels, on clips that it has not heard."""
    changes = ["loss=ce", "distillation.weight=1", "epochs=20", "evaluate_every=20"]
    recipe = override(taught, [*changes, "learning_rate=0.01", "ema_decay=none"])
    recipe = replace(recipe, model="cnn_small", model_changes={"widths": (8, 16, 16, 16)})
    trained(recipe, corpus, tmp_path)
    manifest = open_manifest(corpus, "esc10")
    student, teacher = (
        Teacher(str(path), path, manifest.labels, "ce")
        for path in (tmp_path, Path(taught.distillation.teachers[0]))
    )
    held_out = [load_clip(clip, 16_000) for clip in split_clips(manifest, "1", 0).held_out]
    waveforms, lengths = torch.stack(held_out), torch.full((12,), len(held_out[0]))
    found, wanted = (
        one.answer(one.hear(waveforms, lengths, 16_000)).log_softmax(dim=1)
        for one in (student, teacher)
    )
    divergence = (wanted.exp() * (wanted - found)).sum(dim=1).mean()
    constant = wanted.exp().mean(dim=0).log()
    best_constant = (wanted.exp() * (wanted - constant)).sum(dim=1).mean()
    assert divergence < 0.6 * best_constant


def test_another_teacher_is_refused_in_the_same_folder(taught, save_random, corpus, tmp_path):
    own = save_random(tmp_path / "own")
    recipe = override(taught, [f"distillation.teachers={own}", "epochs=1"])
    trained(recipe, corpus, tmp_path / "run")
    save_random(tmp_path / "own", seed=7)
    with pytest.raises(TrainingError, match=r"other settings \(teachers\..*own: .*, now "):
        trained(recipe, corpus, tmp_path / "run")


def test_a_teacher_that_does_not_know_a_class_is_refused_before_training(
    taught, save_random, corpus, tmp_path
):
    own = save_random(tmp_path / "own", labels=("low", "high"))
    recipe = override(taught, [f"distillation.teachers={own}"])
    with pytest.raises(ConfigError, match="does not know 'middle' of the data set; it knows low"):
        trained(recipe, corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def said_by_log(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said about teachers."""
    lines = [record.getMessage() for record in caplog.records]
    return [line for line in lines if line.startswith("the teacher ")]


def test_it_is_said_whether_a_teacher_has_heard_the_held_out_clips(
    recipe, corpus, tmp_path, caplog
):
    manifest = open_manifest(corpus, "esc10")
    short = override(recipe, ["epochs=1"])
    train.fit(short, corpus, tmp_path / "fold-1", fold=1, progress=False)
    train.fit(short, corpus, tmp_path / "all", train_on_all=True, progress=False)
    own = override(recipe, [f"distillation.teachers={tmp_path}/fold-{{fold}}"])
    assert leak_warnings(own, manifest, split_clips(manifest, "1", 0)) == []
    other = override(recipe, [f"distillation.teachers={tmp_path}/fold-1/last"])
    assert leak_warnings(other, manifest, split_clips(manifest, "1", 0)) == []
    (line,) = leak_warnings(other, manifest, split_clips(manifest, "2", 0))
    assert "fold-1/last has learned from clips that are held out here" in line
    everything = override(recipe, [f"distillation.teachers={tmp_path}/all"])
    assert (
        "has learned from clips"
        in leak_warnings(everything, manifest, split_clips(manifest, "1", 0))[0]
    )
    assert leak_warnings(everything, manifest, split_clips(manifest, "none", 0)) == []
    shipped = override(recipe, ["distillation.teachers=general"])
    (unsure,) = leak_warnings(shipped, manifest, split_clips(manifest, "1", 0))
    assert "general does not say" in unsure
    assert "(its card: trained on " in unsure
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        processes.warn([line, unsure, line])
    assert said_by_log(caplog) == [line, unsure]


def test_cross_validation_asks_for_all_folds_first(taught, save_random, corpus, tmp_path, caplog):
    own = save_random(tmp_path / "own", labels=("low", "high"))
    recipe = override(taught, [f"distillation.teachers={own}"])
    with pytest.raises(TrainingError, match=r"fold [12] failed: .* does not know 'middle'"):
        train.cross_validate(recipe, corpus, tmp_path / "runs", jobs=1, progress=False)
    (line,) = said_by_log(caplog)
    assert "own does not say whether it has learned from the clips" in line
    each = override(taught, [f"distillation.teachers={tmp_path}/fold-{{fold}}"])
    with pytest.raises(UnknownNameError, match="fold-1"):
        train.cross_validate(each, corpus, tmp_path / "more", jobs=1, progress=False)
    assert not (tmp_path / "more").exists()


@pytest.fixture
def table(corpus, tmp_path) -> Path:
    """The same clips without folds."""
    labels = {"0": "low", "4": "middle", "9": "high"}
    paths = sorted((corpus / "audio").glob("*.wav"))
    rows = [f"{path},{labels[path.stem.split('-')[2]]}\n" for path in paths]
    (tmp_path / "own.csv").write_text("filename,label\n" + "".join(rows))
    return tmp_path / "own.csv"


def test_another_fifth_of_an_undivided_data_set_is_another_part(recipe, table, tmp_path):
    own = override(recipe, ["corpus=own", "epochs=1"])
    train.fit(own, table, tmp_path / "run", progress=False)
    manifest = open_manifest(table, "own")
    asked = override(own, [f"distillation.teachers={tmp_path / 'run'}"])
    assert leak_warnings(asked, manifest, split_clips(manifest, None, 0)) == []
    assert len(leak_warnings(asked, manifest, split_clips(manifest, None, 1))) == 1


def test_a_tuned_model_learns_from_one_that_was_tuned_on_the_same_clips(table, tmp_path, caplog):
    small = ("model_changes.widths=4,8,8,8", "epochs=2", "precision=float32")
    for name, changes in (("a", ()), ("b", (f"distillation.teachers={tmp_path / 'a'}",))):
        tuned = train.finetune(
            table,
            tmp_path / name,
            model="cnn_small",
            changes=(*small, *changes),
            n_threads=1,
            progress=False,
        )
    assert tuned.recipe.distillation.teachers == (str(tmp_path / "a"),)
    notes = checkpoints.load(tmp_path / "b").notes
    assert notes["teachers"] == str(tmp_path / "a")
    assert notes["teachers have heard the held-out clips"] == "no"
    assert not said_by_log(caplog)
