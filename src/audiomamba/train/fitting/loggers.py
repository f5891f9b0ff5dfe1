"""Where the curves of a run go beside its own file."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from lightning.fabric.loggers.logger import Logger
from lightning.fabric.loggers.tensorboard import TensorBoardLogger

from audiomamba.train.fitting import processes
from audiomamba.train.fitting.execution import Execution
from audiomamba.train.run import Run

__all__ = ["open_loggers"]


@contextmanager
def open_loggers(run: Run, execution: Execution) -> Iterator[list[Logger]]:
    """Open TensorBoard's file, if it is installed, and Weights & Biases, if it is asked for.

    Args:
        run: the run.
        execution: the project of Weights & Biases, if any.

    Yields:
        The loggers of the first process; of the others none.
    """
    loggers: list[Logger] = []
    if processes.rank() == 0 and find_spec("tensorboard") is not None:
        loggers.append(TensorBoardLogger(run.folder, name="", version="tensorboard"))
    if processes.rank() == 0 and execution["wandb"] is not None:
        from lightning.pytorch.loggers import WandbLogger

        loggers.append(WandbLogger(run.folder.name, run.folder, project=execution["wandb"]))
    status = "failed"
    try:
        yield loggers
        status = "success"
    finally:
        for logger in loggers:
            logger.finalize(status)
