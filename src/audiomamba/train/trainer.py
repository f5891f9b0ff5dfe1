"""Lightning's trainer with this package's choices."""

from importlib.util import find_spec

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger

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
        shown = ("loss", "accuracy", "ema_accuracy")
        return {name: f"{line[name]:.3f}" for line in last for name in shown if name in line}


def make_trainer(
    recipe: Recipe, run: Run, epoch_end: Callback, *, precision: str, bar: bool
) -> pl.Trainer:
    """Make a trainer for one device, a GPU if there is one.

    Args:
        recipe: what to do.
        run: the run's folder.
        epoch_end: evaluates, logs and saves after each epoch.
        precision: Lightning's name for it.
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
        precision=precision,  # type: ignore[arg-type]
        logger=logger,
        callbacks=callbacks,
        default_root_dir=run.folder,
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
