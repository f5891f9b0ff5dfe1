"""One run: a recipe, a data set, a folder."""

import logging
import math
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from audiomamba import models
from audiomamba.atomic import write_json
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import Checkpoint, TransferReport, start_from
from audiomamba.data import (
    Clip,
    ClipCache,
    EvaluationSet,
    LabelVectors,
    Manifest,
    measure,
    open_manifest,
)
from audiomamba.data.clip_reader import check_header
from audiomamba.errors import ConfigError, MissingDependencyError, TrainingError
from audiomamba.models import AudioModel
from audiomamba.models.ood import OODDetector, check_enough_clips, fit_ood_detector
from audiomamba.provenance import commit, versions
from audiomamba.recipes import Recipe, from_dict, to_dict
from audiomamba.train.distillation.teachers import fingerprints
from audiomamba.train.fitting import processes
from audiomamba.train.fitting.schedule_clock import Pace
from audiomamba.train.fitting.start import find_start
from audiomamba.train.fitting.state import Position, position_of
from audiomamba.train.run import (
    SAVE_EVERY_S,
    Run,
    RunResult,
    differences,
)
from audiomamba.train.split import NOTHING, Parts, divide

__all__ = ["fit"]

if TYPE_CHECKING:
    from audiomamba.train.distillation.targets import Lessons
    from audiomamba.train.fitting.checkpointer import Keeper


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
    save_every_s: float = SAVE_EVERY_S,
    budget_s: float | None = None,
    shard: bool = False,
    wandb: str | None = None,
    progress: bool = True,
) -> RunResult:
    """Train a model, or go on with a run that was interrupted.

    A run that goes on from its last saved state ends as it would have without the interruption, bit
    for bit on the same machine with one thread.

    Where torchrun started several processes, each call takes its share of every step's clips: the
    recipe's batch size is that of one process. The folder is on a disk that all machines share, and
    the first process alone writes to it. Another number of processes may go on with a run, with a
    batch size that makes as many clips per step, and dropout will draw differently there.

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
        save_every_s: the state is saved when so many seconds have passed since it was last, and
            after every epoch; 0 or more.
        budget_s: seconds after which the last step is done, those of earlier calls included: on a
            machine too slow for all epochs the run goes through its schedule faster, and ends
            within an epoch. None for all epochs.
        shard: whether each of several processes keeps only its share of the weights, of their
            average and of the optimizer's averages: less memory, more traffic. What is saved is
            whole all the same, and a run may go on the other way.
        wandb: project of Weights & Biases that gets the curves too; None for none.
        progress: whether to show a progress bar.

    Returns:
        The last epoch's metrics, and where the run is.

    Raises:
        MissingDependencyError: Lightning, or wandb if it is asked for, is not installed.
        ConfigError: a setting cannot work.
        DataError: the data set is not what it should be.
        AudioError: a clip cannot be read.
        CheckpointError: the weights to start from, or a teacher, are not there or do not fit.
        TrainingError: the folder holds another run, the loss is not finite, or another process of
            this run has ended.
    """
    if find_spec("lightning") is None:
        raise MissingDependencyError("lightning", "train", "training")
    if wandb is not None and find_spec("wandb") is None:
        raise MissingDependencyError("wandb", "wandb", "sending curves to Weights & Biases")
    if fold is not None and train_on_all:
        raise ConfigError(f"fold is {fold} and train_on_all is set; choose one of them")
    if not save_every_s >= 0:
        raise ConfigError(f"save_every_s is {save_every_s}; expected seconds, 0 or more")
    if budget_s is not None and not budget_s > 0:
        raise ConfigError(f"budget_s is {budget_s}; expected seconds, more than 0")
    if shard and processes.started_together() == 1:
        raise ConfigError(
            "shard is set, but this process is alone; start several with torchrun, or leave it out"
        )
    if shard and recipe.precision == "float16":
        raise ConfigError(
            "precision is 'float16', whose gradients are not scaled across shared out weights; "
            "set it to 'bfloat16' or 'float32', or leave shard out"
        )
    started = time.perf_counter()
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    manifest = open_manifest(data, recipe.corpus)
    processes.warn(manifest.remarks())
    if recipe.loss == "ce" and not manifest.single_label:
        raise ConfigError("the loss is 'ce' but some clips have several labels or none; use 'bce'")
    held_out = NOTHING if train_on_all else None if fold is None else str(fold)
    parts = divide(manifest, held_out, recipe.seed)
    inputs = _Inputs(
        recipe=recipe,
        manifest=manifest,
        parts=parts,
        weights=weights,
        n_workers=n_workers,
        save_every_s=save_every_s,
        budget_s=budget_s,
        shard=shard,
        wandb=wandb,
        progress=progress,
        started=started,
    )
    with processes.joined():
        return _fit(Run(out), inputs, resume=resume)


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """What fit was given, read and divided."""

    recipe: Recipe
    manifest: Manifest
    parts: Parts
    weights: Path | None
    n_workers: int
    save_every_s: float
    budget_s: float | None
    shard: bool
    wandb: str | None
    progress: bool
    started: float


def _fit(run: Run, inputs: _Inputs, *, resume: bool) -> RunResult:
    """Train, or return what an earlier call has finished."""
    recipe = inputs.recipe
    plan = _plan(recipe, inputs.manifest, inputs.parts)
    record = processes.from_first(lambda: _open_run(run, plan, resume=resume))
    if record is not None and "metrics" in record:
        return processes.from_first(
            lambda: RunResult(
                folder=run.folder,
                metrics=record["metrics"],
                seconds=record["seconds"],
                resumed_epoch=len(run.epochs()),
            )
        )
    return _train(run, plan, record, inputs)


def _plan(recipe: Recipe, manifest: Manifest, parts: Parts) -> dict[str, Any]:
    """What a run's result depends on: an interrupted run goes on only if all of it is the same."""
    return {
        "n_processes": processes.n_processes(),
        "recipe": to_dict(recipe),
        "data": {
            "fingerprint": manifest.fingerprint,
            "held_out": parts.name,
            "n_training": len(parts.training),
            "n_held_out": len(parts.held_out),
        },
        "teachers": fingerprints(recipe, parts.name),
    }


def _in_one_process(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan that one process would follow to the same result."""
    n_clips = plan["n_processes"] * plan["recipe"]["batch_size"]
    return {**plan, "n_processes": 1, "recipe": {**plan["recipe"], "batch_size": n_clips}}


def _open_run(run: Run, plan: Mapping[str, Any], *, resume: bool) -> dict[str, Any] | None:
    """The record of the run that the folder holds; None if it holds none."""
    record = run.record()
    if record is None:
        return None
    if not resume:
        raise TrainingError(f"{run.folder} holds a run already; choose another folder, or resume")
    held = {"n_processes": 1} | {name: record[name] for name in plan if name in record}
    held["recipe"] = to_dict(from_dict(record["recipe"]))  # with fields that are newer than the run
    changed = differences(held, plan)
    if changed and differences(_in_one_process(held), _in_one_process(plan)):
        raise TrainingError(
            f"{run.folder} holds a run with other settings ({'; '.join(changed[:3])}); "
            "choose another folder"
        )
    return record


def _train(
    run: Run, plan: Mapping[str, Any], record: dict[str, Any] | None, inputs: _Inputs
) -> RunResult:
    """Train from the beginning or from the last saved state to the end."""
    with _quiet():
        from audiomamba.train.fitting.checkpointer import checkpoint_of
        from audiomamba.train.fitting.loader import new_loader
        from audiomamba.train.fitting.loop import make_trainer
        from audiomamba.train.fitting.module import TrainingModule
    recipe, clips = inputs.recipe, inputs.parts.training
    cache = ClipCache(clips, recipe.front_end.sample_rate)
    front_end = _front_end(recipe, cache) if record is None else FrontEnd(**record["front_end"])
    model = _new_model(recipe, front_end, inputs.manifest)
    started = _start(inputs, run, model)
    _check_familiarity(recipe, model, len(clips))
    _check_sound(clips)
    keeper = _keeper(run, inputs, front_end)
    targets, lessons = _targets(inputs)
    if record is None:
        record = processes.from_first(lambda: _begin(run, plan, front_end, started))
    state = run.state_path if run.state_path.exists() else None
    position = Position(epochs=0) if state is None else position_of(state)
    loader = new_loader(
        recipe, cache, targets, front_end, n_workers=inputs.n_workers, position=position
    )
    pace, n_steps = _pace(inputs, len(loader)), len(loader)
    module = TrainingModule(
        model, recipe, front_end, n_steps, clips.names, pace=pace, lessons=lessons
    )
    keeper.go_on(module, position)
    with _quiet():
        trainer = make_trainer(
            recipe, run, keeper, shard=inputs.shard, bar=inputs.progress, wandb=inputs.wandb
        )
        with _interruptible(run, recipe.epochs):
            trainer.fit(module, loader, ckpt_path=state, weights_only=True)

    def finish() -> RunResult:
        epochs = run.epochs()
        last = checkpoint_of(module, inputs.manifest.labels, epochs[-1])
        keeper.save_model(replace(last, ood_detector=_ood_detector(inputs, last)), "last")
        seconds = sum(line["seconds"] for line in epochs)
        write_json(run.record_path, record | {"seconds": seconds, "metrics": epochs[-1]})
        return RunResult(
            folder=run.folder,
            metrics=epochs[-1],
            seconds=seconds,
            resumed_epoch=position.epochs,
            resumed_step=position.steps,
        )

    return processes.from_first(finish)


def _start(inputs: _Inputs, run: Run, model: AudioModel) -> TransferReport | None:
    """Give a new run's model the weights that the recipe starts from, if it names any."""
    if not inputs.recipe.init or run.state_path.exists():
        return None
    return start_from(model, find_start(inputs.recipe.init, inputs.weights))


def _keeper(run: Run, inputs: _Inputs, front_end: FrontEnd) -> "Keeper":
    """What evaluates and saves, with this process's share of the held-out clips."""
    from audiomamba.train.fitting.checkpointer import Keeper

    targets = inputs.manifest.targets(inputs.parts.held_out)
    share = slice(processes.rank(), None, processes.n_processes())
    pad = not models.MODELS[inputs.recipe.model].any_length
    held_out = EvaluationSet(inputs.parts.held_out[share], targets[share], front_end, pad=pad)
    for place in range(min(len(held_out), held_out.n_kept)):
        held_out[place]  # broken files are found now, not after the first epoch
    _check_sound(held_out.clips[held_out.n_kept :])
    return Keeper(
        run,
        held_out,
        targets,
        inputs.manifest.labels,
        best_by=inputs.recipe.best_by,
        save_every_s=inputs.save_every_s,
    )


def _targets(inputs: _Inputs) -> tuple[LabelVectors, "Lessons | None"]:
    """Label vectors of the training clips, and what is learned from teachers beside them."""
    from audiomamba.train.distillation.targets import open_lessons, remarks

    recipe, manifest, parts = inputs.recipe, inputs.manifest, inputs.parts
    labels = manifest.label_vectors(parts.training)
    processes.warn(remarks(recipe, manifest, parts))
    lessons = open_lessons(
        recipe, manifest, parts, n_workers=inputs.n_workers, progress=inputs.progress
    )
    return (labels, None) if lessons is None else (lessons.targets(labels), lessons)


def _pace(inputs: _Inputs, n_batches: int) -> Pace | None:
    """How fast to go, if there is a time to end by."""
    if inputs.budget_s is None:
        return None
    n_steps = math.ceil(n_batches / inputs.recipe.accumulate) * inputs.recipe.epochs
    return Pace(n_steps, inputs.budget_s, inputs.started)


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
    found = processes.from_first(lambda: measure(cache, recipe.front_end))
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


def _check_sound(clips: Sequence[Clip]) -> None:
    """Look at the headers of this process's share of clips that nobody has read before."""
    for place in range(processes.rank(), len(clips), processes.n_processes()):
        if clips[place].digest is None:
            check_header(clips[place])


def _check_familiarity(recipe: Recipe, model: AudioModel, n_clips: int) -> None:
    """Refuse before the training what could not be measured after it."""
    if recipe.familiarity_limit is None:
        return
    if not isinstance(model.head, nn.Linear):
        raise ConfigError(
            f"familiarity_limit is {recipe.familiarity_limit}, but the head of {recipe.model} does "
            "not read one vector per clip; set familiarity_limit to none"
        )
    check_enough_clips(n_clips, model.head.in_features)


def _ood_detector(inputs: _Inputs, checkpoint: Checkpoint) -> OODDetector | None:
    """Where the training clips' embeddings lie, if the recipe wants to know."""
    limit, front_end = inputs.recipe.familiarity_limit, checkpoint.front_end
    if limit is None or front_end is None:
        return None
    from audiomamba.train.fitting.scoring import predict

    targets = inputs.manifest.targets(inputs.parts.training)
    model = checkpoint.model
    pad = not model.config.any_length
    clips = EvaluationSet(inputs.parts.training, targets, front_end, pad=pad)
    embeddings = predict(model, clips, inputs.recipe.batch_size, model.embed)
    return fit_ood_detector(embeddings, torch.from_numpy(targets), limit)


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
