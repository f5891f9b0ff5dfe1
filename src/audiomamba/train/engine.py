"""One run: a recipe, a data set, a folder."""

import logging
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from audiomamba import models
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import Checkpoint, TransferReport, start_from
from audiomamba.data import (
    ClipCache,
    EpochSampler,
    EvaluationSet,
    Example,
    Manifest,
    TrainingSet,
    collate,
    measure,
    open_manifest,
)
from audiomamba.data.sampler import draw_for
from audiomamba.errors import ConfigError, MissingDependencyError, TrainingError
from audiomamba.models import AudioModel
from audiomamba.models.familiarity import Familiarity, check_enough, measure_familiarity
from audiomamba.recipes import Recipe, from_dict, to_dict
from audiomamba.train.parts import NOTHING, Parts, divide
from audiomamba.train.run import Run, RunResult, commit, differences, versions, write_json
from audiomamba.train.start import find_start

__all__ = ["fit"]


def fit(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    fold: int | None = None,
    train_on_all: bool = False,
    resume: bool = True,
    weights: Path | None = None,
    n_threads: int | None = None,
    n_workers: int = 0,
    progress: bool = True,
) -> RunResult:
    """Train a model, or go on with a run that was interrupted.

    A run that goes on after its last complete epoch ends as it would have without the interruption,
    bit for bit on the same machine with one thread.

    Args:
        recipe: what to do.
        data: the data set's folder, or the CSV file of one's own.
        out: the run's folder; it is created.
        fold: the fold to hold out, 1 for the first. Without it the first fold is held out where
            there are folds, else the part "valid" or "test", else a fifth of the clips.
        train_on_all: hold out nothing.
        resume: whether to go on with, or return the result of, a run that the folder holds.
        weights: folder that holds the weights that recipes start from, by the names of
            recipes.STARTS.
        n_threads: processor threads; None to leave them as they are.
        n_workers: processes that prepare clips; 0 to do it in this one. The result is the same.
        progress: whether to show a progress bar.

    Returns:
        The last epoch's metrics, and where the run is.

    Raises:
        MissingDependencyError: Lightning is not installed.
        ConfigError: a setting cannot work.
        DataError: the data set is not what it should be.
        AudioError: a clip cannot be read.
        CheckpointError: the weights to start from are not there, or do not fit.
        TrainingError: the folder holds another run, or the loss is not finite.
    """
    if find_spec("lightning") is None:
        raise MissingDependencyError("lightning", "train", "training")
    if fold is not None and train_on_all:
        raise ConfigError(f"fold is {fold} and train_on_all is set; choose one of them")
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    manifest = open_manifest(data, recipe.corpus)
    if recipe.loss == "ce" and not manifest.single_label:
        raise ConfigError("the loss is 'ce' but some clips have several labels or none; use 'bce'")
    held_out = NOTHING if train_on_all else None if fold is None else str(fold)
    parts = divide(manifest, held_out, recipe.seed)
    run = Run(out)
    plan = _plan(recipe, manifest, parts)
    record = _open_run(run, plan, resume=resume)
    if record is not None and "metrics" in record:
        epochs = len(run.epochs())
        return RunResult(
            folder=out,
            metrics=record["metrics"],
            seconds=record["seconds"],
            resumed_epoch=epochs,
        )
    fresh = not run.state_path.exists()
    start = find_start(recipe.init, weights) if recipe.init and fresh else None
    inputs = _Inputs(recipe, manifest, parts, start, n_workers, progress)
    return _train(run, plan, record, inputs)


@dataclass(frozen=True)
class _Inputs:
    """What fit was given, read and divided."""

    recipe: Recipe
    manifest: Manifest
    parts: Parts
    start: Path | None
    n_workers: int
    progress: bool


def _plan(recipe: Recipe, manifest: Manifest, parts: Parts) -> dict[str, Any]:
    """What a run's result depends on: an interrupted run goes on only if all of it is the same."""
    return {
        "recipe": to_dict(recipe),
        "data": {
            "fingerprint": manifest.fingerprint,
            "held_out": parts.name,
            "n_training": len(parts.training),
            "n_held_out": len(parts.held_out),
        },
    }


def _open_run(run: Run, plan: Mapping[str, Any], *, resume: bool) -> dict[str, Any] | None:
    """The record of the run that the folder holds; None if it holds none."""
    record = run.record()
    if record is None:
        return None
    if not resume:
        raise TrainingError(f"{run.folder} holds a run already; choose another folder, or resume")
    held = {name: record.get(name) for name in plan}
    held["recipe"] = to_dict(from_dict(record["recipe"]))  # with fields that are newer than the run
    changed = differences(held, plan)
    if changed:
        raise TrainingError(
            f"{run.folder} holds a run with other settings ({'; '.join(changed[:3])}); "
            "choose another folder"
        )
    return record


def _train(
    run: Run, plan: Mapping[str, Any], record: dict[str, Any] | None, inputs: _Inputs
) -> RunResult:
    """Train from the beginning or from the last complete epoch to the end."""
    with _quiet():
        from audiomamba.train.callbacks import EpochEnd, checkpoint_of
        from audiomamba.train.module import TrainingModule
        from audiomamba.train.trainer import make_trainer
    recipe, parts = inputs.recipe, inputs.parts
    cache = ClipCache(parts.training, recipe.front_end.sample_rate)
    front_end = _front_end(recipe, cache) if record is None else FrontEnd(**record["front_end"])
    model = _new_model(recipe, front_end, inputs.manifest)
    started = None if inputs.start is None else start_from(model, inputs.start)
    _check_familiarity(recipe, model, len(parts.training))
    held_out = EvaluationSet(parts.held_out, inputs.manifest.targets(parts.held_out), front_end)
    for place in range(len(held_out)):  # broken files are found now, not after the first epoch
        held_out[place]
    if record is None:
        record = _begin(run, plan, front_end, started)
    loader = _loader(cache, inputs, front_end)
    names = parts.training.names
    module = TrainingModule(model, recipe, front_end, len(loader), names)
    state = run.state_path if run.state_path.exists() else None
    epoch_end = EpochEnd(run, held_out, inputs.manifest.labels, recipe.best_by)
    resumed = epoch_end.forget_incomplete(state)
    with _quiet():
        trainer = make_trainer(recipe, run, epoch_end, bar=inputs.progress)
        with _interruptible(run, recipe.epochs):
            trainer.fit(module, loader, ckpt_path=state, weights_only=True)
    epochs = run.epochs()
    last = checkpoint_of(module, inputs.manifest.labels, epochs[-1])
    epoch_end.save_model(replace(last, familiarity=_familiarity(inputs, last)), "last")
    seconds = sum(line["seconds"] for line in epochs)
    write_json(run.record_path, record | {"seconds": seconds, "metrics": epochs[-1]})
    return RunResult(folder=run.folder, metrics=epochs[-1], seconds=seconds, resumed_epoch=resumed)


def _begin(
    run: Run, plan: Mapping[str, Any], front_end: FrontEnd, started: TransferReport | None
) -> dict[str, Any]:
    """Write the record of a new run."""
    for name in ("last", "best"):
        shutil.rmtree(run.folder / name, ignore_errors=True)
    run.state_path.unlink(missing_ok=True)
    run.folder.mkdir(parents=True, exist_ok=True)
    record = dict(plan) | {
        "front_end": asdict(front_end),
        "start": None if started is None else asdict(started),
        "command": sys.argv,
        "versions": versions(),
        "commit": commit(),
        "n_threads": torch.get_num_threads(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    write_json(run.record_path, record)
    return record


def _front_end(recipe: Recipe, cache: ClipCache) -> FrontEnd:
    """The front end with the statistics that the run uses."""
    if not recipe.measure_statistics:
        return recipe.front_end
    found = measure(cache, recipe.front_end)
    return replace(recipe.front_end, mean=found.mean, std=found.std)


def _new_model(recipe: Recipe, front_end: FrontEnd, manifest: Manifest) -> AudioModel:
    """The model with its first weights, which the seed decides."""
    torch.manual_seed(recipe.seed)
    return models.create(
        recipe.model,
        **recipe.model_changes,
        n_classes=len(manifest.labels),
        n_mels=front_end.n_mels,
        n_frames=front_end.n_frames,
    )


def _loader(cache: ClipCache, inputs: _Inputs, front_end: FrontEnd) -> DataLoader[Example]:
    """Batches of augmented training clips."""
    recipe = inputs.recipe
    targets = inputs.manifest.label_vectors(cache.clips)
    front_end = recipe.training_front_end(front_end)
    clips = TrainingSet(cache, targets, front_end, recipe.augment, recipe.seed)
    return DataLoader(
        clips,
        batch_size=recipe.batch_size,
        sampler=EpochSampler(len(clips), recipe.seed, draw_for(recipe.sampling, targets)),
        num_workers=inputs.n_workers,
        persistent_workers=inputs.n_workers > 0,
        collate_fn=collate,
        generator=torch.Generator(),
    )


def _check_familiarity(recipe: Recipe, model: AudioModel, n_clips: int) -> None:
    """Refuse before the training what could not be measured after it."""
    if recipe.familiarity_limit is None:
        return
    if not isinstance(model.head, nn.Linear):
        raise ConfigError(
            f"familiarity_limit is {recipe.familiarity_limit}, but the head of {recipe.model} does "
            "not read one vector per clip; set familiarity_limit to none"
        )
    check_enough(n_clips, model.head.in_features)


def _familiarity(inputs: _Inputs, checkpoint: Checkpoint) -> Familiarity | None:
    """Where the training clips' embeddings lie, if the recipe wants to know."""
    limit, front_end = inputs.recipe.familiarity_limit, checkpoint.front_end
    if limit is None or front_end is None:
        return None
    from audiomamba.train.scoring import predict

    targets = inputs.manifest.targets(inputs.parts.training)
    clips = EvaluationSet(inputs.parts.training, targets, front_end)
    model = checkpoint.model
    embeddings = predict(model, clips, inputs.recipe.batch_size, model.embed)
    return measure_familiarity(embeddings, torch.from_numpy(targets), limit)


@contextmanager
def _interruptible(run: Run, n_epochs: int) -> Iterator[None]:
    """Turn an interruption, for which Lightning ends the process, into an error."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored
        raise TrainingError(
            f"{run.folder}: interrupted after epoch {len(run.epochs())} of {n_epochs}; "
            "the same call goes on from there"
        ) from stop


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning from printing tips and from warning about choices made on purpose."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(lightning|torch|tensorboard)\b.*")
        warnings.filterwarnings("ignore", message=r".*(num_workers|LeafSpec|litlogger).*")
        try:
            yield
        finally:
            logger.setLevel(level)
