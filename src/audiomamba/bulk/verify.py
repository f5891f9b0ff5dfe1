"""Whether what is done is what was planned: every file one row, and no file has changed since."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from audiomamba.bulk.part import as_text, numbers_done, read_done, read_part, record_name
from audiomamba.bulk.plan import Plan
from audiomamba.errors import DataError

__all__ = ["Problem", "verify"]


class Problem(NamedTuple):
    """What is wrong with a part.

    Args:
        part: its number.
        reason: what is wrong, in one line.
        is_missing: whether it is only not done yet.
    """

    part: int
    reason: str
    is_missing: bool


def verify(
    plan: Plan, *, redo: bool = False, tell: Callable[[int], None] | None = None
) -> Iterator[Problem]:
    """Check every part against the plan.

    Args:
        plan: the plan.
        redo: whether the records of damaged parts are deleted, so that the next run makes them
            anew.
        tell: called with the number of parts that were checked, after each.

    Yields:
        What is wrong with parts, in their order.

    Raises:
        OSError: the storage cannot be read.

    Examples:
        >>> from audiomamba import checkpoints
        >>> from audiomamba.bulk import Computation, make_plan
        >>> from audiomamba.bulk.sources import list_recordings
        >>> clips, model = list_recordings("my-clips"), checkpoints.find("general")
        >>> plan = make_plan(clips, "tagged", model, Computation())
        >>> [problem.reason for problem in verify(plan)]
        ['part 0 is not done yet']
    """
    done = numbers_done(plan.storage)
    for part in range(plan.n_parts):
        if part not in done:
            yield Problem(part, f"part {part} is not done yet", is_missing=True)
        elif reason := _problem(plan, part):
            if redo:
                plan.storage.delete(record_name(part))
            yield Problem(part, reason, is_missing=False)
        if tell is not None:
            tell(part + 1)


def _problem(plan: Plan, part: int) -> str:
    """What is wrong with a part; empty if nothing is."""
    try:
        table = read_part(plan.storage, read_done(plan.storage, part))
    except DataError as error:
        return str(error)
    planned = [as_text(one.name) for one in plan.part(part)]
    if table.column("file").to_pylist() != planned:
        return f"part {part}: its rows are not those of its {len(planned)} files"
    return ""
