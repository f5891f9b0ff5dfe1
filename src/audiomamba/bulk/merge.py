"""All parts as one table, a few at a time, so that memory does not grow with their number."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from audiomamba.atomic import replacing
from audiomamba.bulk.part import numbers_done, read_part
from audiomamba.bulk.plan import Plan
from audiomamba.bulk.status import records
from audiomamba.errors import ConfigError, DataError
from audiomamba.infer.formats.format import Format, choose_by_suffix
from audiomamba.infer.formats.text import json_line
from audiomamba.infer.results import DIGITS
from audiomamba.outputs import claimed, writing

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MERGED_FORMATS", "merge"]

ROWS_PER_GROUP = 20_000  # of a parquet file, at least, up to the last


class MergedTable(Format, ABC):
    """A format of merged tables.

    Args:
        file: where the table goes.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @abstractmethod
    def add(self, table: "pa.Table") -> None:
        """Write the rows of a part."""

    def close(self) -> None:
        """Write what is left."""


class MergedParquet(MergedTable):
    """Parquet with the columns of the parts."""

    name = "parquet"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._writer: Any = None
        self._waiting: list[pa.Table] = []

    def add(self, table: "pa.Table") -> None:
        """Write the rows of a part, a few parts together."""
        self._waiting.append(table)
        if sum(len(one) for one in self._waiting) >= ROWS_PER_GROUP:
            self._write()

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        if self._waiting:
            self._write()
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        table = pa.concat_tables(self._waiting)
        self._waiting = []
        if self._writer is None:
            self._writer = ParquetWriter(self._file, table.schema, compression="zstd")
        self._writer.write_table(table, len(table))


class MergedJson(MergedTable):
    """JSON lines: an object for each file."""

    name = "json"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)

    def add(self, table: "pa.Table") -> None:
        """Write a line for each row."""
        for row in table.to_pylist():
            for one in (row.get("tags") or []) + (row.get("events") or []):
                one["score"] = round(one["score"], DIGITS)  # which 32 bits do not hold exactly
                if one.get("heard", False) is None:
                    del one["heard"]
            self._file.write(json_line(row).encode())


MERGED_FORMATS: tuple[type[MergedTable], ...] = (MergedParquet, MergedJson)


def merge(
    plan: Plan,
    out: Path,
    *,
    partial: bool = False,
    overwrite: bool = False,
    tell: Callable[[int], None] | None = None,
) -> int:
    """Write the rows of all parts as one table, in the order of the plan.

    Args:
        plan: the plan.
        out: the table, .parquet or .jsonl.
        partial: whether only a part of the plan may be done.
        overwrite: whether a table that is there already may be replaced.
        tell: called with the number of parts that were merged, after each.

    Returns:
        How many rows were written.

    Raises:
        ConfigError: not all is done, nothing is, or the table cannot be written.
        DataError: a part is damaged.

    Examples:
        >>> from audiomamba import checkpoints
        >>> from audiomamba.bulk import Computation, make_plan
        >>> from audiomamba.bulk.sources import list_recordings
        >>> clips, model = list_recordings("my-clips"), checkpoints.find("general")
        >>> plan = make_plan(clips, "tagged", model, Computation())
        >>> merge(plan, Path("tags.parquet"))
        Traceback (most recent call last):
            ...
        audiomamba.errors.ConfigError: 0 of 1 parts are done; ...
    """
    chosen = choose_by_suffix(MERGED_FORMATS, out, "merged tables")
    parts = sorted(numbers_done(plan.storage))
    if not parts or (len(parts) < plan.n_parts and not partial):
        raise ConfigError(
            f"{len(parts)} of {plan.n_parts} parts are done; `audiomamba bulk run "
            f"{plan.storage}` does the others, --partial merges what there is"
        )
    with (
        claimed([out], overwrite=overwrite),
        writing(out),
        replacing(out) as file,
        file.open("wb") as stream,
        closing(chosen(stream)) as table,
    ):
        return _merge(plan, parts, table, tell or (lambda _number: None))


def _merge(plan: Plan, parts: list[int], table: MergedTable, tell: Callable[[int], None]) -> int:
    """Write the rows of parts; returns how many there were."""
    n_rows = 0
    for number, done in enumerate(records(plan.storage, parts), start=1):
        rows, n_files = read_part(plan.storage, done), plan.n_files_of(done.part)
        if len(rows) != n_files:
            raise DataError(
                f"part {done.part} has {len(rows)} rows for {n_files} files; "
                "`audiomamba bulk verify` tells more"
            )
        table.add(rows)
        n_rows += len(rows)
        tell(number)
    return n_rows
