"""The processes that train one model together, as torchrun starts them.

Each takes its share of every step's clips, and gradients are averaged, so that N processes do what
one process with N times the batch size does. A process that was not started by torchrun is alone.
"""

import gc
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import distributed, nn

from audiomamba.errors import RunFailedError

__all__ = [
    "from_first",
    "gather",
    "joined",
    "n_processes",
    "rank",
    "share_buffers",
    "started_together",
    "total",
    "warn",
]

T = TypeVar("T")
_log = logging.getLogger(__name__)
LOST = ("gloo", "nccl", "connection", "timed out")  # in messages of broken connections


def started_together() -> int:
    """Return how many processes torchrun has started, on all machines; 1 without torchrun."""
    if not distributed.is_available() or not distributed.is_torchelastic_launched():
        return 1
    return int(os.environ["WORLD_SIZE"])


def rank() -> int:
    """Return the number of this process among those started together, 0 for the first."""
    return int(os.environ["RANK"]) if started_together() > 1 else 0


def n_processes() -> int:
    """Return how many processes have joined; 1 if this one is alone."""
    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


@contextmanager
def joined() -> Iterator[None]:
    """Connect the processes that were started together.

    Raises:
        RunFailedError: another process has ended.
    """
    if started_together() == 1:
        yield
        return
    try:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            distributed.init_process_group("cpu:gloo,cuda:nccl")
        else:
            distributed.init_process_group("gloo")
        yield
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        raise RunFailedError(
            f"process {rank() + 1} of {started_together()} stops, as another has ended; "
            "the same command goes on from the last saved state"
        ) from error
    finally:
        if distributed.is_initialized():
            gc.collect()  # or what refers to the group keeps its threads, which abort at exit
            distributed.destroy_process_group()


def from_first(make: Callable[[], T]) -> T:
    """Do something in the first process only.

    Args:
        make: what to do.

    Returns:
        What it gave there, in every process.
    """
    if n_processes() == 1:
        return make()
    values = [make() if rank() == 0 else None]
    distributed.broadcast_object_list(values)
    (value,) = values
    return value  # type: ignore[return-value]  # that of the first process


def gather(value: T) -> list[T]:
    """Collect what every process has.

    Args:
        value: this process's.

    Returns:
        One per process, the first process's first.
    """
    if n_processes() == 1:
        return [value]
    values: list[T | None] = [None] * n_processes()
    distributed.all_gather_object(values, value)
    return values  # type: ignore[return-value]  # all are filled


def total(values: Sequence[float]) -> list[float]:
    """Add up what every process has.

    Args:
        values: this process's, as many in each.

    Returns:
        The sums.
    """
    if n_processes() == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(sums)
    found: list[float] = sums.tolist()
    return found


def share_buffers(module: nn.Module) -> None:
    """Give every process the first one's buffers, such as the averages of batch norms.

    Args:
        module: the module; it is changed.
    """
    if n_processes() > 1:
        for buffer in module.buffers():
            distributed.broadcast(buffer, 0)


def warn(lines: Iterable[str]) -> None:
    """Log warnings, each once, in the first process.

    Args:
        lines: the warnings, one line each.
    """
    if rank() == 0:
        for line in dict.fromkeys(lines):
            _log.warning("%s", line)


def _is_lost(error: RuntimeError) -> bool:
    """Whether an error says that another process cannot be reached."""
    text = str(error).lower()
    return isinstance(error, distributed.DistError) or any(word in text for word in LOST)
