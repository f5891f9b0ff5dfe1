"""The loop: Lightning's trainer with this package's choices."""

import os
from importlib.util import find_spec
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.strategies import DDPStrategy, Strategy

from audiomamba.recipes import Recipe
from audiomamba.train.fitting import processes
from audiomamba.train.fitting.checkpointer import Checkpointer
from audiomamba.train.fitting.early_stop import EarlyStop
from audiomamba.train.fitting.execution import Execution
from audiomamba.train.fitting.loader import EpochLoader
from audiomamba.train.fitting.module import TrainingModule
from audiomamba.train.fitting.quiet import interruptible, quiet
from audiomamba.train.run import Run

__all__ = ["train"]


class ProgressBar(TQDMProgressBar):
    """One bar for the current epoch, with the last epoch's metrics beside it.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the metrics to show."""
        del trainer, pl_module
        last = self.run.epochs()[-1:]
        shown = ("loss", "accuracy", "ema_accuracy", "swa_accuracy")
        return {name: f"{line[name]:.3f}" for line in last for name in shown if name in line}


def train(
    module: TrainingModule,
    loader: EpochLoader,
    checkpointer: Checkpointer,
    *,
    state: Path | None,
    execution: Execution,
) -> None:
    """Train from the beginning or from a saved state to the end.

    Args:
        module: the model in training.
        loader: its batches.
        checkpointer: evaluates, logs and saves.
        state: the saved state; None for the beginning.
        execution: how it is done.

    Raises:
        TrainingError: the loss is not finite, or the run was interrupted.
    """
    run, recipe = checkpointer.run, module.recipe
    with quiet():
        trainer = _new_trainer(recipe, checkpointer, execution)
        with interruptible(run, recipe.epochs):
            trainer.fit(module, loader, ckpt_path=state, weights_only=True)


def _new_trainer(recipe: Recipe, checkpointer: Checkpointer, execution: Execution) -> pl.Trainer:
    """A trainer for one device per process, a GPU if there is one.

    Processes that torchrun started average their gradients; on GPUs also what batch norms measure.
    """
    run, bar = checkpointer.run, execution["progress"]
    n_processes = processes.n_processes()
    n_here = int(os.environ["LOCAL_WORLD_SIZE"]) if n_processes > 1 else 1
    strategy: Strategy | str = "auto"
    if n_processes > 1:
        strategy = DDPStrategy()
    if execution["shard"]:
        from audiomamba.train.fitting.sharding import ShardingStrategy

        strategy = ShardingStrategy()
    loggers: list[Logger] = []
    if find_spec("tensorboard") is not None:
        loggers.append(TensorBoardLogger(run.folder, name="", version="tensorboard"))
    if execution["wandb"] is not None:
        loggers.append(WandbLogger(run.folder.name, run.folder, project=execution["wandb"]))
    callbacks = [checkpointer, *([ProgressBar(run)] if bar else [])]
    if recipe.patience is not None:
        callbacks.append(EarlyStop(run, recipe.best_by, recipe.patience))
    return pl.Trainer(
        max_epochs=recipe.epochs,
        accelerator="auto",
        devices=n_here,
        num_nodes=n_processes // n_here,
        strategy=strategy,
        sync_batchnorm=n_processes > 1 and torch.cuda.is_available(),
        accumulate_grad_batches=recipe.accumulate,
        plugins=[_precision(recipe)],
        logger=loggers,
        callbacks=callbacks,
        default_root_dir=run.folder,
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _precision(recipe: Recipe) -> Precision:
    """Lightning's plugin; named here, as by itself it takes no float16 on a CPU."""
    if recipe.precision == "float32":
        return Precision()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return MixedPrecision("16-mixed" if recipe.precision == "float16" else "bf16-mixed", device)
