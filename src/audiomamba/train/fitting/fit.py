"""One run: a recipe, a data set, a folder.

A run that is resumed from its last saved state ends as it would have without the interruption, bit
for bit on the same machine with one thread.

Where torchrun started several processes, each call takes its share of every step's clips: the
recipe's batch size is that of one process. The folder is on a disk that all machines share, and the
first process alone writes to it. Another number of processes may resume a run, with a batch size
that makes as many clips per step, and dropout will draw differently there.
"""

import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import TransferReport, start_from
from audiomamba.data import ClipCache, LabelVectors, Manifest
from audiomamba.infer.device import use_threads
from audiomamba.models import AudioModel
from audiomamba.output_folders import filled_by_one_call
from audiomamba.recipes import Recipe
from audiomamba.train.fitting import processes
from audiomamba.train.fitting.execution import Execution, complete
from audiomamba.train.fitting.mirror import Mirror
from audiomamba.train.fitting.record import new_record, open_record
from audiomamba.train.fitting.schedule_clock import ScheduleClock
from audiomamba.train.fitting.start import find_start
from audiomamba.train.fitting.state import Position, load_state, position_of
from audiomamba.train.fitting.task import Task, open_task
from audiomamba.train.run import LOG_NAME, Run, RunResult

__all__ = ["fit", "resume_or_train"]

if TYPE_CHECKING:
    from audiomamba.train.distillation.targets import DistillationTargets


def fit(
    recipe: Recipe,
    data: Path | Manifest,
    out: Path,
    *,
    fold: int | None = None,
    train_on_all: bool = False,
    resume: bool = True,
    weights: Path | None = None,
    **execution: Unpack[Execution],
) -> RunResult:
    """Train a model, or resume a run that was interrupted.

    Args:
        recipe: what to do.
        data: the data set's folder, the CSV file of one's own, or the list of its clips.
        out: the run's folder; it is created.
        fold: the fold to hold out, 1 for the first. Without it the first fold is held out where
            there are folds, else the split "valid" or "test", else a fifth of the clips.
        train_on_all: hold out nothing.
        resume: whether to resume, or return the result of, a run that the folder holds.
        weights: folder that holds the weights that recipes start from, by the names of
            recipes.STARTS.
        **execution: how it is executed, as Execution says: n_threads, n_workers, save_every_s,
            budget_s, shard, mirror, wandb, progress.

    Returns:
        The last epoch's metrics, and where the run is.

    Raises:
        MissingDependencyError: Lightning, or wandb if it is asked for, is not installed.
        ConfigError: a setting cannot work; or the folder holds something else, cannot be written,
            is being written by another call, or is what is read.
        DataError: the data set is not what it should be.
        AudioError: a clip cannot be read.
        CheckpointError: the weights to start from, or a teacher, are not there or do not fit.
        TrainingError: the folder holds another run, the loss is not finite, or another process of
            this run has ended.

    Examples:
        >>> from audiomamba import recipes
        >>> recipe = recipes.override(recipes.get("own/starter"), ["epochs=1"])
        >>> int(fit(recipe, Path("my-clips"), Path("run"), progress=False).metrics["epoch"])
        1
    """
    with ExitStack() as stack:
        if processes.rank() == 0:  # of the processes that train together, one writes
            inputs = [it for it in (data, weights) if isinstance(it, Path)]
            is_begun = Run(out).record_path.exists
            stack.enter_context(filled_by_one_call(out, inputs, is_begun, beside=(LOG_NAME,)))
        return resume_or_train(
            recipe,
            data,
            out,
            fold=fold,
            train_on_all=train_on_all,
            resume=resume,
            weights=weights,
            **execution,
        )


def resume_or_train(
    recipe: Recipe,
    data: Path | Manifest,
    out: Path,
    *,
    fold: int | None = None,
    train_on_all: bool = False,
    resume: bool = True,
    weights: Path | None = None,
    **execution: Unpack[Execution],
) -> RunResult:
    """Do what fit does in a folder that the caller looks after.

    Args:
        recipe: as for fit.
        data: as for fit.
        out: as for fit.
        fold: as for fit.
        train_on_all: as for fit.
        resume: as for fit.
        weights: as for fit.
        **execution: as for fit.

    Returns:
        What fit returns.

    Raises:
        AudioMambaError: as for fit.
    """
    started, execution = time.perf_counter(), complete(execution, recipe)
    use_threads(execution["n_threads"])
    task, run = open_task(recipe, data, fold=fold, train_on_all=train_on_all, out=out), Run(out)
    with processes.joined():
        plan = task.plan()
        processes.from_first(Mirror(run, execution["mirror"]).restore)
        record = processes.from_first(lambda: open_record(run, plan, resume=resume))
        if record is not None and "metrics" in record:
            return processes.from_first(lambda: _finished(run, record))
        return _train(run, task, record, weights=weights, execution=execution, started=started)


def _finished(run: Run, record: Mapping[str, Any]) -> RunResult:
    """What an earlier call has trained to the end."""
    return RunResult(
        folder=run.folder,
        metrics=record["metrics"],
        seconds=record["seconds"],
        resumed_epoch=len(run.epochs()),
    )


def _train(
    run: Run,
    task: Task,
    record: dict[str, Any] | None,
    *,
    weights: Path | None,
    execution: Execution,
    started: float,
) -> RunResult:
    """Train from the beginning or from the last saved state to the end."""
    from audiomamba.train.fitting.checkpointer import Checkpointer
    from audiomamba.train.fitting.devices import new_precision
    from audiomamba.train.fitting.loader import TrainingBatches
    from audiomamba.train.fitting.loop import Loop
    from audiomamba.train.fitting.module import TrainingModule

    recipe = task.recipe
    cache = ClipCache(task.split.training, recipe.front_end.sample_rate)
    front_end = FrontEnd(**record["front_end"]) if record else task.new_front_end(cache)
    model = task.new_model(front_end)
    start = _start(run, recipe, model, weights)
    task.check_training_clips(is_new=record is None)
    mirror = Mirror(run, execution["mirror"])
    checkpointer = Checkpointer(run, task, front_end, execution["save_every_s"], mirror)
    labels, distillation = _targets(task, execution)
    if record is None:
        record = processes.from_first(lambda: new_record(run, task.plan(), front_end, start))
    saved = load_state(run.state_path) if run.state_path.exists() else None
    position = Position(epochs=0) if saved is None else position_of(saved)
    batches = TrainingBatches(
        recipe, cache, labels, front_end, n_workers=execution["n_workers"], position=position
    )
    module = TrainingModule(
        model,
        recipe,
        front_end,
        batches.n_steps,
        task.split.training.names,
        distillation=distillation,
        precision=new_precision(recipe),
    )
    clock = _clock(recipe, execution, started, batches.n_steps)
    loop = Loop(module, batches, checkpointer, execution=execution, clock=clock, saved=saved)
    loop.run(position)
    return processes.from_first(lambda: checkpointer.finish(module, position, record))


def _start(
    run: Run, recipe: Recipe, model: AudioModel, weights: Path | None
) -> TransferReport | None:
    """Give a new run's model the weights that the recipe starts from, if it names any."""
    if not recipe.init or run.state_path.exists():
        return None
    return start_from(model, find_start(recipe.init, weights))


def _targets(task: Task, execution: Execution) -> tuple[LabelVectors, "DistillationTargets | None"]:
    """Label vectors of the training clips, and what is learned from teachers beside them."""
    from audiomamba.train.distillation.targets import leak_warnings, open_targets

    recipe, manifest, split = task.recipe, task.manifest, task.split
    labels = manifest.label_vectors(split.training)
    processes.warn(leak_warnings(recipe, manifest, split))
    distillation = open_targets(
        recipe,
        manifest,
        split,
        n_workers=execution["n_workers"],
        progress=execution["progress"],
    )
    if distillation is not None:
        labels = distillation.label_vectors(labels)
    return labels, distillation


def _clock(
    recipe: Recipe, execution: Execution, started: float, n_batches: int
) -> ScheduleClock | None:
    """What says where in its schedule the run is, if there is a time to end by."""
    if execution["budget_s"] is None:
        return None
    n_steps = math.ceil(n_batches / recipe.accumulate) * recipe.epochs
    return ScheduleClock(n_steps, execution["budget_s"], started)
