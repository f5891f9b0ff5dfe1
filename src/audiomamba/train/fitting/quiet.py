"""Lightning as a part of this package: without its tips, and without ending the process."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from audiomamba.errors import TrainingError
from audiomamba.train.run import Run

__all__ = ["interruptible", "quiet"]


@contextmanager
def interruptible(run: Run, n_epochs: int) -> Iterator[None]:
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
def quiet() -> Iterator[None]:
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
