"""How far a plan is."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from audiomamba.bulk.part import Done, numbers_done, read_done
from audiomamba.bulk.plan import Plan
from audiomamba.storage import Storage

__all__ = ["Status", "records", "status_of"]

N_READERS = 16  # records that are read side by side
RECORDS_AT_ONCE = 1000


@dataclass(frozen=True)
class Status:
    """How far a plan is.

    Args:
        n_parts: of the plan.
        n_parts_done: those that are complete.
        n_files: of the plan.
        n_files_done: those in complete parts.
        n_failed: those of them with an error.
        seconds: of sound in complete parts.

    Examples:
        >>> Status(2, 1, 2000, 1000, 3, 9990.0).is_complete
        False
    """

    n_parts: int
    n_parts_done: int
    n_files: int
    n_files_done: int
    n_failed: int
    seconds: float

    @property
    def is_complete(self) -> bool:
        """Whether all parts are done."""
        return self.n_parts_done == self.n_parts


def status_of(plan: Plan) -> Status:
    """Count what is done.

    Args:
        plan: the plan.

    Returns:
        How far it is.

    Raises:
        DataError: a record is damaged.
        OSError: the storage cannot be read.

    Examples:
        >>> from audiomamba import checkpoints
        >>> from audiomamba.bulk import Computation, make_plan
        >>> from audiomamba.bulk.sources import list_recordings
        >>> clips, model = list_recordings("my-clips"), checkpoints.find("general")
        >>> plan = make_plan(clips, "tagged", model, Computation())
        >>> status_of(plan).n_files, status_of(plan).n_files_done
        (4, 0)
    """
    n_parts = n_files = n_failed = 0
    seconds = 0.0
    for done in records(plan.storage, sorted(numbers_done(plan.storage))):
        n_parts, n_files = n_parts + 1, n_files + done.n_rows
        n_failed, seconds = n_failed + done.n_failed, seconds + done.seconds
    return Status(plan.n_parts, n_parts, plan.n_files, n_files, n_failed, seconds)


def records(storage: Storage, parts: list[int]) -> Iterator[Done]:
    """Read the records of parts, several at a time.

    Args:
        storage: the output.
        parts: their numbers.

    Yields:
        The records, in the same order.

    Raises:
        DataError: one is not there, or damaged.
    """
    with ThreadPoolExecutor(N_READERS) as pool:
        for start in range(0, len(parts), RECORDS_AT_ONCE):
            some = parts[start : start + RECORDS_AT_ONCE]
            yield from pool.map(lambda part: read_done(storage, part), some)
