"""Rows of a table that is being made, kept so that a process that is killed loses none.

While the table NAME is made, NAME.journal is beside it, with a line of JSON for every row that is
ready, in the order in which they got ready. NAME.run.json, with the call that the table is from,
stays. The table itself is written at the end, as a whole.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from audiomamba.atomic import replacing, write_json
from audiomamba.errors import ConfigError, DataError
from audiomamba.infer.recording_index import RecordingIndex
from audiomamba.infer.results import Row, Rows
from audiomamba.json_lines import JsonLines
from audiomamba.outputs import refuse_inputs, sole_writer, writing

__all__ = ["Journal"]

NOTED_AT_ONCE = 1024  # rows that are found in a journal


class Journal:
    """The rows of a table, of which some may be from a call that was cut off.

    Until it is finished or closed, no other call can make the same table.

    Args:
        table: where the table goes.
        call: what the rows depend on besides the recordings, ready for JSON.
        files: the recordings, one row each; they are gone through once, and not held in memory.
        overwrite: whether a table that is there already, or what is left of another call, gives
            way.

    Raises:
        ConfigError: there is a table already, or what is left of another call; another call makes
            the table; it is one of the recordings; or nothing can be written there.
        DataError: the journal is damaged.
    """

    def __init__(
        self, table: Path, call: Mapping[str, Any], files: Iterable[Path], *, overwrite: bool
    ) -> None:
        self._name = table
        self._table = Path(os.path.realpath(table))
        self._journal = self._table.with_name(f"{self._table.name}.journal")
        self._run = self._table.with_name(f"{self._table.name}.run.json")
        self._call = json.loads(json.dumps(call))
        self.n_failed: int | None = None  # known when the table is finished
        with ExitStack() as stack:
            stack.enter_context(sole_writer(table))
            self._index = RecordingIndex(files)
            stack.callback(self._index.close)
            self.n_files = len(self._index)
            refuse_inputs([table], self._index)
            with writing(table):
                is_complete = self._begin(overwrite)
            if not is_complete:
                self._claim = stack.pop_all()

    def todo(self) -> Iterator[Path]:
        """Go through the recordings without a row.

        Yields:
            Each once, in order; none when the table is finished.
        """
        if self.n_failed is None:
            yield from self._index.todo()

    @property
    def n_todo(self) -> int:
        """How many recordings have no row, each counted once."""
        return self._index.n_todo() if self.n_failed is None else 0

    def _begin(self, overwrite: bool) -> bool:
        """Find out what is there, and make room for what is to come; returns if all is done."""
        if self._table.exists() or self._run.exists():
            problem = self._problem()
            finished = self._finished()
            if problem and not overwrite:
                raise ConfigError(f"{problem}; another name keeps it, --overwrite replaces it")
            if problem or (finished and overwrite):
                for file in (self._table, self._run, self._journal):
                    file.unlink(missing_ok=True)
            elif finished:
                self.n_failed = finished["n_failed"]
                return True
        write_json(self._run, {"call": self._call})
        self._recover()
        return False

    def _problem(self) -> str:
        """Why what is there is not from the same call; empty if it is."""
        if not self._run.exists():
            return f"{self._name} exists already"
        call = self._read_run().get("call")
        if not isinstance(call, dict):
            return f"{self._run} is damaged"
        keys = sorted({*call, *self._call})
        changed = [key for key in keys if call.get(key) != self._call.get(key)]
        if changed:
            return f"{self._name} is from another call, with another {', '.join(changed)}"
        finished, now = self._finished(), ((str(file), _stamp(file)) for file in self._index)
        if finished and finished.get("recordings") != _hash_of(now):
            return f"{self._name} is of other recordings, or these have changed since"
        return ""

    def _finished(self) -> dict[str, Any]:
        """What is written of the end of the call, if it came to one."""
        finished: dict[str, Any] = self._read_run().get("finished", {})
        return finished if self._table.exists() and not self._journal.exists() else {}

    def _read_run(self) -> dict[str, Any]:
        """What is written of the call; nothing if that is damaged."""
        try:
            run = json.loads(self._run.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return run if isinstance(run, dict) else {}

    def _recover(self) -> None:
        """Find the rows that are there; what a killed process left of a line is cut off."""
        found: list[tuple[str, int]] = []

        def take(offset: int, line: bytes) -> None:
            try:
                row = json.loads(line)
                name, stamp = row["file"], row["stamp"]
            except (ValueError, LookupError, TypeError) as error:
                raise DataError(
                    f"{self._journal} is damaged at byte {offset}; remove it to begin anew"
                ) from error
            if stamp == _stamp(Path(name)):
                found.append((name, offset))
            if len(found) == NOTED_AT_ONCE:
                self._index.set_offsets(found)
                found.clear()

        self._out = JsonLines(self._journal, take)
        self._index.set_offsets(found)

    def add(self, file: Path, row: Row) -> None:
        """Keep a row; when this returns, killing the process does not lose it.

        Args:
            file: the recording.
            row: what is said of it, ready for JSON.

        Raises:
            ConfigError: it cannot be written, as where the disk is full.
        """
        with writing(self._name):
            offset = self._out.add({"file": str(file), "stamp": _stamp(file), **row})
        self._index.set_offsets([(str(file), offset)])

    def rows(self) -> Iterator[Row]:
        """Go through the rows, in the order of the recordings.

        Yields:
            What was given for each, with its name as `file`.
        """
        for row in self._stamped_rows():
            del row["stamp"]
            yield row

    def _stamped_rows(self) -> Iterator[Row]:
        """The rows, each with what its recording was known by."""
        with self._journal.open("rb") as file:
            for offset in self._index.offsets():
                file.seek(offset)
                row: Row = json.loads(file.readline())
                yield row

    def finish(self, write: Callable[[Path, Rows], None]) -> None:
        """Write the table, and remove the journal.

        Args:
            write: writes rows to a file; it may go through them more than once.

        Raises:
            ConfigError: the table cannot be written; its rows are kept.
        """
        with writing(self._name):
            with replacing(self._table) as part:
                write(part, self.rows)
            n_failed = sum(bool(row["error"]) for row in self.rows())
            recordings = _hash_of((row["file"], row["stamp"]) for row in self._stamped_rows())
            finished = {"n_failed": n_failed, "recordings": recordings}
            write_json(self._run, {"call": self._call, "finished": finished})
            self._out.close()
            self._journal.unlink()
        self.n_failed = n_failed
        self._claim.close()

    def close(self) -> None:
        """Stop, with all rows kept."""
        if self.n_failed is None:
            self._out.close()
            self._claim.close()


def _stamp(file: Path) -> list[int] | None:
    """What changes with a file's contents; None of a file that is not there."""
    try:
        status = file.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _hash_of(recordings: Iterable[tuple[str, list[int] | None]]) -> str:
    """A hash of recordings' names and of what changes with their contents."""
    found = hashlib.sha256()
    for recording in recordings:
        found.update(json.dumps(recording).encode())
    return found.hexdigest()[:16]
