"""Ctrl-C and requests to end the process, as an error that says how to go on."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from audiomamba.errors import TrainingError
from audiomamba.train.run import Run

__all__ = ["interruptible"]


@contextmanager
def interruptible(run: Run, n_epochs: int) -> Iterator[None]:
    """Turn an interruption into an error; what is being written is complete or not there.

    Args:
        run: what is interrupted.
        n_epochs: epochs that it has.

    Raises:
        TrainingError: the process was asked to end.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    if in_main_thread:  # no other thread may set a handler
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        raise TrainingError(
            f"{run.folder}: interrupted after epoch {len(run.epochs())} of {n_epochs}; "
            "the same call goes on from there"
        ) from stop
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, handler)
