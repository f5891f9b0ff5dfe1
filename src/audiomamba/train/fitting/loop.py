"""Lightning's trainer with this package's choices."""

import os
from importlib.util import find_spec

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.strategies import DDPStrategy, Strategy

from audiomamba.recipes import Recipe
from audiomamba.train.fitting import processes
from audiomamba.train.fitting.early_stop import EarlyStop
from audiomamba.train.run import Run

__all__ = ["make_trainer"]


class ProgressBar(TQDMProgressBar):
    """One bar for the current epoch, with the last epoch's figures beside it.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the figures to show."""
        del trainer, pl_module
        last = self.run.epochs()[-1:]
        shown = ("loss", "accuracy", "ema_accuracy", "swa_accuracy")
        return {name: f"{line[name]:.3f}" for line in last for name in shown if name in line}


def make_trainer(
    recipe: Recipe,
    run: Run,
    keeper: Callback,
    *,
    shard: bool = False,
    bar: bool,
    wandb: str | None = None,
) -> pl.Trainer:
    """Make a trainer for one device per process, a GPU if there is one.

    Processes that torchrun started average their gradients; on GPUs also what batch norms measure.

    Args:
        recipe: what to do.
        run: the run's folder.
        keeper: evaluates, logs and saves.
        shard: whether each process keeps only its share of the weights.
        bar: whether to show a progress bar.
        wandb: project of Weights & Biases; None to leave it out.

    Returns:
        The trainer.
    """
    n_processes = processes.n_processes()
    n_here = int(os.environ["LOCAL_WORLD_SIZE"]) if n_processes > 1 else 1
    strategy: Strategy | str = "auto"
    if n_processes > 1:
        strategy = DDPStrategy()
    if shard:
        from audiomamba.train.fitting.sharding import ShardingStrategy

        strategy = ShardingStrategy()
    loggers: list[Logger] = []
    if find_spec("tensorboard") is not None:
        loggers.append(TensorBoardLogger(run.folder, name="", version="tensorboard"))
    if wandb is not None:
        loggers.append(WandbLogger(run.folder.name, run.folder, project=wandb))
    callbacks = [keeper, *([ProgressBar(run)] if bar else [])]
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
