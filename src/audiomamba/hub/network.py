"""Whether the network may be used, and who is told how far a download is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from audiomamba.hub.address import HUB
from audiomamba.progress import Progress

__all__ = ["endpoint", "is_offline", "progress", "reporting", "without_network"]

VARIABLE = "HF_HUB_OFFLINE"  # that of huggingface_hub, so that one switch serves both
ON = {"1", "on", "true", "yes"}

_PROGRESS: ContextVar[Progress | None] = ContextVar("progress of downloads", default=None)


def endpoint() -> str:
    """Where the Hugging Face hub is.

    Returns:
        The address that the variable HF_ENDPOINT gives, else that of the public hub.

    Examples:
        >>> endpoint().startswith("http")
        True
    """
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB


def is_offline() -> bool:
    """Tell whether the network may not be used.

    Returns:
        True if the variable HF_HUB_OFFLINE is set to 1, on, true or yes.

    Examples:
        >>> with without_network():
        ...     is_offline()
        True
    """
    return os.environ.get(VARIABLE, "").lower() in ON


@contextmanager
def without_network() -> Iterator[None]:
    """Use no network in a block, also in the processes that it starts.

    Yields:
        Nothing.

    Examples:
        >>> before = is_offline()
        >>> with without_network():
        ...     pass
        >>> is_offline() == before
        True
    """
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "1"
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


@contextmanager
def reporting(progress: Progress) -> Iterator[None]:
    """Have the downloads of a block told how far they are.

    Args:
        progress: called with the number of bytes that are there, and of all.

    Yields:
        Nothing.

    Examples:
        >>> with reporting(lambda done, total: print(f"{done} of {total} bytes")):
        ...     progress(5, 10)
        5 of 10 bytes
    """
    before = _PROGRESS.set(progress)
    try:
        yield
    finally:
        _PROGRESS.reset(before)


def progress(done: int, total: int) -> None:
    """Tell whoever wants to know how far a download is.

    Args:
        done: bytes that are there.
        total: bytes of all.
    """
    tell = _PROGRESS.get()
    if tell is not None:
        tell(done, total)
