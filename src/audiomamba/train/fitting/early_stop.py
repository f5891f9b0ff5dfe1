"""Ending a run when its held-out clips have nothing more to gain."""

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

from audiomamba.train.run import Run, metric_of

__all__ = ["EarlyStop"]


class EarlyStop(Checkpoint):  # as these are called last, after what writes the metrics
    """Ends a run whose held-out metric has not risen for a number of evaluations.

    It goes by what the run wrote down, so that a run that was interrupted ends where it would have.

    Args:
        run: the run's folder.
        best_by: the metric.
        patience: evaluations without a better one than before.
    """

    def __init__(self, run: Run, best_by: str, patience: int) -> None:
        self.run = run
        self.best_by = best_by
        self.patience = patience

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End a run at once that was over when it was interrupted."""
        del pl_module
        self._decide(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the run if it is time."""
        del pl_module
        self._decide(trainer)

    def _decide(self, trainer: pl.Trainer) -> None:
        metrics = [metric_of(line, self.best_by) for line in self.run.epochs()]
        known = [metric for metric in metrics if metric is not None]
        is_over = len(known) > self.patience and max(known[-self.patience :]) <= max(
            known[: -self.patience]
        )
        if trainer.strategy.reduce_boolean_decision(is_over, all=False):
            trainer.should_stop = True
