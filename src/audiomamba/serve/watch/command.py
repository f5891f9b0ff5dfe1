"""The two loops of `audiomamba watch`."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from torch import Tensor

from audiomamba.serve.watch.folder import FolderWatch
from audiomamba.serve.watch.listening import Listener
from audiomamba.terminal import Interruptible

__all__ = ["watch_folder", "watch_sound"]

POLL_S = 1.0


def watch_folder(watch: FolderWatch, *, once: bool) -> None:
    """Hear new recordings until SIGTERM or Ctrl-C.

    Args:
        watch: the folder.
        once: whether to end when all recordings that are there have been heard.
    """
    with _terminable(), suppress(KeyboardInterrupt):
        while watch.look() or not once:
            time.sleep(POLL_S)


def watch_sound(listener: Listener, blocks: Iterator[Tensor], source: str) -> None:
    """Hear sound as it comes, until it ends, or until SIGTERM or Ctrl-C; nothing is lost then.

    Args:
        listener: what turns it into events.
        blocks: (samples,) at the model's rate.
        source: the name of what is listened to.
    """
    with _terminable(), Interruptible(blocks) as until_stopped:
        listener.listen(until_stopped, source)


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> None:
    """Do as Ctrl-C does, also where that is ignored, as in a shell's background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)
