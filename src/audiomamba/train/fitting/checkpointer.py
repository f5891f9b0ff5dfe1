"""What a run writes: metrics after each epoch, models, and the state to resume from."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from audiomamba import checkpoints
from audiomamba.atomic import replace_folder, replacing, write_json
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import Checkpoint
from audiomamba.models import AudioModel
from audiomamba.train.fitting import processes
from audiomamba.train.fitting.full_state import full_model
from audiomamba.train.fitting.mirror import Mirror
from audiomamba.train.fitting.module import TrainingModule
from audiomamba.train.fitting.scoring import predict, score
from audiomamba.train.fitting.state import Position
from audiomamba.train.fitting.task import Task
from audiomamba.train.run import Run, RunResult, metric_of

__all__ = ["Checkpointer", "checkpoint_of"]


class Checkpointer:
    """Saves the state now and then; after each epoch evaluates the held-out clips, writes, saves.

    Args:
        run: the run's folder.
        task: what the run learns from what.
        front_end: how the model's input is made.
        save_every_s: seconds between two states within an epoch.
        mirror: where a copy of what is written goes.

    Raises:
        AudioError: a held-out clip cannot be read.
    """

    def __init__(
        self, run: Run, task: Task, front_end: FrontEnd, save_every_s: float, mirror: Mirror
    ) -> None:
        self.run, self.mirror = run, mirror
        self.task = task
        self.held_out = task.own_held_out(front_end)
        self.targets = task.manifest.targets(task.split.held_out)
        self.labels = task.manifest.labels
        self.best_by = task.recipe.best_by
        self.save_every_s = save_every_s
        self.best_metric = -1.0
        self.started = self.saved = time.perf_counter()

    def resume(self, position: Position) -> None:
        """Go on from a saved state, or from the beginning; later metrics are forgotten.

        Args:
            position: how far the state is.
        """
        self.saved = time.perf_counter()
        self.started = self.saved - position.seconds
        if processes.rank() == 0:
            for line in self.run.keep_epochs(position.epochs):
                self.best_metric = max(self.best_metric, metric_of(line, self.best_by) or -1.0)

    def is_due(self) -> bool:
        """Tell whether it is time to save the state, in all processes by the first one's clock."""
        is_due = time.perf_counter() - self.saved >= self.save_every_s
        return bool(processes.total([is_due and processes.rank() == 0])[0])

    def spent_s(self) -> float:
        """Return the seconds that the current epoch has taken so far."""
        return time.perf_counter() - self.started

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a state that is complete or not there, in the first process.

        Args:
            state: all that is needed to go on.
        """
        if processes.rank() == 0:
            with replacing(self.run.state_path) as part, part.open("wb") as file:
                torch.save(dict(state), file)  # to a file: a full disk is an OSError then
            self.mirror.push()
        self.saved = time.perf_counter()

    def end_epoch(
        self, module: TrainingModule, learning_rate: float, *, is_last: bool
    ) -> dict[str, float]:
        """Evaluate if it is time, and write what was found and the model if it is the best so far.

        Args:
            module: the model in training, after an epoch.
            learning_rate: at its end.
            is_last: whether the run ends with this epoch.

        Returns:
            The epoch's line of metrics.
        """
        recipe, models = module.recipe, dict[str, AudioModel]()
        line: dict[str, float] = {
            "epoch": module.epoch + 1,
            "learning_rate": learning_rate,
            "loss": module.loss_sum / module.n_losses,
        }
        if len(self.targets) and (line["epoch"] % recipe.evaluate_every == 0 or is_last):
            processes.share_buffers(module)
            models = _models(module)
            line |= self._evaluate(module, models)
        if processes.rank() == 0:
            self._write(module, line, models)
        self.started = time.perf_counter()
        return line

    def _write(
        self, module: TrainingModule, line: dict[str, float], models: Mapping[str, AudioModel]
    ) -> None:
        """Write an epoch's metrics, and the model if it is the best so far."""
        metric = metric_of(line, self.best_by)
        if metric is not None and metric > self.best_metric:
            self.best_metric = metric
            (*_, best) = models.values()
            self.save_model(replace(checkpoint_of(module, self.labels, line), model=best), "best")
        line["seconds"] = round(self.spent_s(), 3)
        self.run.add_epoch(line)

    def finish(
        self, module: TrainingModule, position: Position, record: Mapping[str, Any]
    ) -> RunResult:
        """Write the last model and the end of the record, in the first process only.

        Args:
            module: the trained model.
            position: how far the state was from which this call went on.
            record: the run's record.

        Returns:
            How the run ended.
        """
        epochs = self.run.epochs()
        last = checkpoint_of(module, self.labels, epochs[-1])
        self.save_model(replace(last, ood_detector=self.task.fit_ood_detector(last)), "last")
        seconds = sum(line["seconds"] for line in epochs)
        write_json(self.run.record_path, {**record, "seconds": seconds, "metrics": epochs[-1]})
        self.mirror.push()
        return RunResult(
            folder=self.run.folder,
            metrics=epochs[-1],
            seconds=seconds,
            resumed_epoch=position.epochs,
            resumed_step=position.steps,
        )

    def save_model(self, checkpoint: Checkpoint, name: str) -> None:
        """Write a model folder that is complete or not there.

        Args:
            checkpoint: the model.
            name: name of the folder in the run's folder.
        """
        part = self.run.folder / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        checkpoints.save(part, checkpoint)
        replace_folder(part, self.run.folder / name)

    def _evaluate(
        self, module: TrainingModule, models: Mapping[str, AudioModel]
    ) -> dict[str, float]:
        """Metrics of the weights, and of their average if there is one."""
        found: dict[str, float] = {}
        for prefix, model in models.items():
            logits = self._logits(model, module.recipe.batch_size)
            scores = score(logits, self.targets, self.labels, module.recipe.loss)
            found |= {prefix + name: value for name, value in scores.items()}
        return found

    def _logits(self, model: AudioModel, batch_size: int) -> Tensor:
        """Logits (clips, classes) of all held-out clips, each from the process that has it."""
        own = None
        if len(self.held_out):
            own = predict(model, self.held_out, batch_size).numpy()
        parts = processes.gather(own)
        logits = torch.empty(len(self.targets), len(self.labels))
        for index, part in enumerate(parts):
            if part is not None:
                logits[index :: len(parts)] = torch.from_numpy(part)
        return logits


def _models(module: TrainingModule) -> dict[str, AudioModel]:
    """The model with its weights, and with their average if there is one, by its prefix."""
    models = {"": full_model(module.model)}
    if module.averages:
        prefix = "swa_" if module.recipe.swa_epochs else "ema_"
        models[prefix] = full_model(module.final_model)
    return models


def checkpoint_of(
    module: TrainingModule, labels: tuple[str, ...], line: Mapping[str, float]
) -> Checkpoint:
    """Describe a run's model, so that it can be saved.

    Args:
        module: the model in training.
        labels: names of the classes.
        line: metrics of the last epoch.

    Returns:
        The average of the weights if the recipe keeps one, else the weights.
    """
    recipe = module.recipe
    notes = {} if module.distillation is None else module.distillation.notes
    return Checkpoint(
        name=recipe.name,
        model=module.final_model,
        front_end=module.front_end,
        labels=labels,
        scores="sigmoid" if recipe.loss == "bce" else "softmax",
        license="unknown",
        notes={"model": recipe.model, "seed": recipe.seed, **notes, **line},
    )
