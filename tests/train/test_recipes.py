"""One step of every recipe, with a tiny model, on clips laid out as its corpus is distributed."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic import CORPORA, lay_out

from audiomamba import checkpoints, models, recipes, train
from audiomamba.checkpoints import Checkpoint, start_from
from audiomamba.data import (
    ClipCache,
    EpochSampler,
    Manifest,
    TrainingDataset,
    collate,
    open_manifest,
)
from audiomamba.data.sampler import draw_for
from audiomamba.models import MODELS, AudioModel
from audiomamba.recipes import STARTS, Recipe, ablations
from audiomamba.train.fitting.module import TrainingModule
from audiomamba.train.fitting.optimizer import new_optimizer
from audiomamba.train.split import split_clips

N_FRAMES = 64
TINY: dict[str, dict[str, Any]] = {
    "ast": {"depth": 1, "dim": 16, "n_heads": 2},
    "audiomamba": {"depths": (1, 1, 1, 1), "dims": (4, 8, 16, 32)},
    "aum": {"depth": 1, "dim": 16},
    "cnn": {"widths": (4, 8, 8, 16)},
    "conv_aum": {"depth": 1, "dim": 16},
    "htsat": {"depths": (1, 1, 1, 1), "dim": 8, "n_heads": (1, 1, 1, 1)},
    "mambaout": {"depths": (1, 1, 1, 1), "dims": (4, 8, 16, 32)},
    "vim": {"depth": 1, "dim": 16},
    "vmamba": {"depths": (1, 1, 1, 1), "dims": (4, 8, 16, 32)},
}


def tiny(recipe: Recipe) -> Recipe:
    """The same recipe with a model of thousands of numbers; short input where it may be."""
    family = MODELS[recipe.model].family
    changes = dict(recipe.model_changes) | TINY[family]
    if "n_heads" in recipe.model_changes and family == "audiomamba":
        changes["n_heads"] = (1, 1, 1, 1)
    front_end = recipe.front_end
    if family not in ("audiomamba", "htsat"):
        front_end = replace(front_end, n_frames=N_FRAMES)
    return replace(recipe, model_changes=changes, front_end=front_end, training_frames=None)


@pytest.fixture(scope="module")
def manifests() -> dict[str, Manifest]:
    """Each corpus, listed once."""
    return {}


def manifest_of(corpus: str, manifests: dict[str, Manifest], tmp_path_factory) -> Manifest:
    if corpus not in manifests:
        laid_out = {"audioset20k": "audioset", "esc10": "esc50", "own": "esc50"}.get(corpus, corpus)
        folder = lay_out(laid_out, tmp_path_factory.mktemp(corpus))
        if corpus == "own":
            rows = (folder / "meta" / "esc50.csv").read_text().splitlines()[1:]
            names = [row.split(",")[::3][:2] for row in rows]
            lines = "".join(f"audio/{name},{label}\n" for name, label in names)
            (folder / "own.csv").write_text("filename,label\n" + lines)
            folder = folder / "own.csv"
        manifests[corpus] = open_manifest(folder, corpus)
    return manifests[corpus]


def source_of(recipe: Recipe, folder: Path) -> Path:
    """A tiny model, saved, of the kind that the recipe starts from."""
    start = STARTS[recipe.init]
    config = MODELS[start.model].changed(**TINY[MODELS[start.model].family])
    if config.reads_sound:
        config = config.changed(n_frames=96)
    labels = tuple(map(str, range(config.n_classes)))
    front_end = recipe.front_end if config.reads_sound else None
    if front_end is not None:
        front_end = replace(front_end, n_frames=96)
    checkpoint = Checkpoint(
        name="source",
        model=config.build(),
        front_end=front_end,
        labels=labels,
        scores="softmax",
        license="unknown",
    )
    checkpoints.save(folder, checkpoint)
    return folder


def step(recipe: Recipe, manifest: Manifest, folder: Path) -> tuple[AudioModel, float]:
    """Make the recipe's model and do one step of training on two clips."""
    parts = split_clips(manifest, None, recipe.seed)
    torch.manual_seed(0)
    model = models.create(
        recipe.model,
        **recipe.model_changes,
        n_classes=len(manifest.labels),
        n_mels=recipe.front_end.n_mels,
        n_frames=recipe.front_end.n_frames,
    )
    if recipe.init is not None:
        assert start_from(model, source_of(recipe, folder)).taken
    cache = ClipCache(parts.training, recipe.front_end.sample_rate)
    targets = manifest.label_vectors(parts.training)
    clips = TrainingDataset(cache, targets, recipe.front_end, recipe.augment, recipe.seed)
    sampler = EpochSampler(len(clips), recipe.seed, draw_for(recipe.sampling, targets))
    batch = collate([clips[key] for key in list(sampler)[:2]])
    module = TrainingModule(model, recipe, recipe.front_end, 1, list(parts.training.names))
    optimizer = new_optimizer(model, recipe)
    loss = module(batch, 0)
    loss.backward()
    module.clip_gradients()
    optimizer.step()
    return model, loss.item()


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_does_a_step(name, manifests, tmp_path_factory, tmp_path):
    recipe = tiny(recipes.get(name))
    model, loss = step(recipe, manifest_of(recipe.corpus, manifests, tmp_path_factory), tmp_path)
    n_classes = model.config.n_classes
    assert 0 < loss < 5 * math.log(n_classes)
    assert all(weight.isfinite().all() for weight in model.parameters())
    learned = [weight for weight in model.parameters() if weight.grad is not None]
    assert any(weight.grad.abs().max() > 0 for weight in learned)


def test_all_recipes_were_tried():
    assert len(recipes.names()) == 86
    assert {recipes.get(name).corpus for name in recipes.names()} >= set(CORPORA)


CELLS = [(name, cell) for name in ablations.names() for cell in ablations.get(name).cells]


@pytest.mark.parametrize(("name", "cell"), CELLS)
def test_every_cell_of_a_set_does_a_step(name, cell, manifests, tmp_path_factory, tmp_path):
    on = "esc10/aum-tiny" if name.startswith("aum/") else None
    recipe = tiny(ablations.recipes_of(name, on=on)[cell])
    _, loss = step(recipe, manifest_of(recipe.corpus, manifests, tmp_path_factory), tmp_path)
    assert 0 < loss < math.inf


def test_all_cells_were_tried():
    assert len(CELLS) == 39


@pytest.mark.parametrize("corpus", ["audioset20k", "speech_commands", "epic_sounds"])
def test_a_run_by_a_papers_recipe_comes_to_its_end(corpus, tmp_path):
    """With its optimizer, schedule, sampling and float16; only model, input and run are short."""
    recipe = replace(tiny(recipes.get(f"{corpus}/aum-tiny")), epochs=2, batch_size=4)
    data = lay_out(corpus, tmp_path / "data")
    result = train.fit(recipe, data, tmp_path / "run", n_threads=1, progress=False)
    assert result.metrics["epoch"] == 2
    assert math.isfinite(result.metrics["loss"])
    saved = checkpoints.load(tmp_path / "run")
    assert saved.front_end == recipe.front_end  # the paper's statistics, not measured ones
    assert saved.scores == ("sigmoid" if recipe.loss == "bce" else "softmax")
