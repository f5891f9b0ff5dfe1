"""What happens after each epoch: evaluation, a line of metrics, the state to go on from."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint as CheckpointCallback

from audiomamba import checkpoints
from audiomamba.checkpoints import Checkpoint
from audiomamba.data import EvaluationSet
from audiomamba.errors import TrainingError
from audiomamba.models import AudioModel
from audiomamba.train.module import TrainingModule
from audiomamba.train.run import Run, figure_of, replace_folder
from audiomamba.train.scoring import predict, score

__all__ = ["EpochEnd", "checkpoint_of"]


class EpochEnd(CheckpointCallback):
    """Evaluates the held-out clips, writes the metrics, then saves the state.

    Args:
        run: the run's folder.
        held_out: the clips to evaluate on; may be none.
        labels: names of the classes.
        best_by: the figure that decides which epoch was best.
    """

    def __init__(
        self, run: Run, held_out: EvaluationSet, labels: tuple[str, ...], best_by: str
    ) -> None:
        self.run = run
        self.held_out = held_out
        self.labels = labels
        self.best_by = best_by
        self.best_figure = -1.0
        self.started = time.perf_counter()

    def forget_incomplete(self, state: Path | None) -> int:
        """Drop metrics of epochs whose state was not saved.

        Args:
            state: the saved state; None if there is none.

        Returns:
            Number of complete epochs.

        Raises:
            TrainingError: the state cannot be read.
        """
        n_epochs = 0 if state is None else _epochs_of(state)
        for line in self.run.keep_epochs(n_epochs):
            self.best_figure = max(self.best_figure, figure_of(line, self.best_by) or -1.0)
        return n_epochs

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        del trainer, pl_module
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate, write, save, in this order."""
        if not isinstance(pl_module, TrainingModule):
            raise TrainingError(f"a {type(pl_module).__name__} is trained; expected TrainingModule")
        epoch = trainer.current_epoch + 1
        line: dict[str, float] = {
            "epoch": epoch,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "loss": sum(pl_module.losses) / len(pl_module.losses),
        }
        recipe = pl_module.recipe
        if len(self.held_out) and (epoch % recipe.evaluate_every == 0 or epoch == recipe.epochs):
            line |= self._evaluate(pl_module)
            figure = figure_of(line, self.best_by)
            if figure is not None and figure > self.best_figure:
                self.best_figure = figure
                self.save_model(checkpoint_of(pl_module, self.labels, line), "best")
        line["seconds"] = round(time.perf_counter() - self.started, 3)
        self.run.add_epoch(line)
        if trainer.logger is not None:
            trainer.logger.log_metrics(line, step=epoch)
        part = self.run.state_path.with_name("state.ckpt.part")
        trainer.save_checkpoint(part)
        part.replace(self.run.state_path)

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

    def _evaluate(self, module: TrainingModule) -> dict[str, float]:
        """Metrics of the weights, and of their average if there is one."""
        weights: dict[str, AudioModel] = {"": module.model}
        if module.averages:
            weights["swa_" if module.recipe.swa_epochs else "ema_"] = module.final_model
        found: dict[str, float] = {}
        for prefix, model in weights.items():
            logits = predict(model, self.held_out, module.recipe.batch_size)
            scores = score(logits, self.held_out.targets, self.labels, module.recipe.loss)
            found |= {prefix + name: value for name, value in scores.items()}
        return found


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
    return Checkpoint(
        name=recipe.name,
        model=module.final_model,
        front_end=module.front_end,
        labels=labels,
        scores="sigmoid" if recipe.loss == "bce" else "softmax",
        license="unknown",
        notes={"model": recipe.model, "seed": recipe.seed, **line},
    )


def _epochs_of(state: Path) -> int:
    """Complete epochs in a saved state."""
    try:
        saved = torch.load(state, map_location="cpu", weights_only=True)
        return int(saved["epoch"]) + 1
    except (OSError, RuntimeError, KeyError, EOFError, UnpicklingError) as error:
        raise TrainingError(f"{state}: cannot be read; delete it to start over") from error
