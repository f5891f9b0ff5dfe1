"""Lightning's trainer with this package's choices."""

from importlib.util import find_spec

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.plugins.precision import MixedPrecision, Precision

from audiomamba.recipes import Recipe
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


def make_trainer(recipe: Recipe, run: Run, epoch_end: Callback, *, bar: bool) -> pl.Trainer:
    """Make a trainer for one device, a GPU if there is one.

    Args:
        recipe: what to do.
        run: the run's folder.
        epoch_end: evaluates, logs and saves after each epoch.
        bar: whether to show a progress bar.

    Returns:
        The trainer.
    """
    logger: Logger | bool = False
    if find_spec("tensorboard") is not None:
        logger = TensorBoardLogger(run.folder, name="", version="tensorboard")
    callbacks = [epoch_end, *([ProgressBar(run)] if bar else [])]
    return pl.Trainer(
        max_epochs=recipe.epochs,
        accelerator="auto",
        devices=1,
        accumulate_grad_batches=recipe.accumulate,
        plugins=[_precision(recipe)],
        logger=logger,
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
