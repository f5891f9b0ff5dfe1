"""The recordings of a call in order, and where the row of each is; on disk, however many."""

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audiomamba.errors import ConfigError

__all__ = ["RecordingIndex"]

CACHE_KIB = 8192
PER_PAGE = 256  # recordings that are read at once

CREATE = """
CREATE TABLE recordings (position INTEGER PRIMARY KEY, file BLOB NOT NULL, offset INTEGER);
CREATE INDEX positions ON recordings (file, position);
"""
WITHOUT_ROW = """
SELECT position, file FROM recordings AS one WHERE position > ? AND offset IS NULL AND NOT EXISTS (
    SELECT 1 FROM recordings AS other WHERE other.file = one.file AND other.position < one.position
) ORDER BY position LIMIT ?
"""
ALL = "SELECT position, file FROM recordings WHERE position > ? ORDER BY position LIMIT ?"
OFFSETS = "SELECT position, offset FROM recordings WHERE position > ? ORDER BY position LIMIT ?"
SET_OFFSET = "UPDATE recordings SET offset = ? WHERE file = ?"


class RecordingIndex:
    """Recordings in the order that they were given in, some perhaps more than once.

    They are in a file of the system's folder for such files, which is removed with the process.
    Several threads may use it.

    Args:
        files: the recordings; they are gone through once.

    Raises:
        ConfigError: there is no room for the file; also from all methods.

    Examples:
        >>> index = RecordingIndex([Path("b.wav"), Path("a.wav"), Path("b.wav")])
        >>> index.set_offsets([("a.wav", 120)])
        >>> len(index), [file.name for file in index.todo()]
        (3, ['b.wav'])
        >>> index.set_offsets([("b.wav", 0)])
        >>> list(index.offsets())
        [0, 120, 0]
        >>> index.close()
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._lock = threading.Lock()
        with _told():
            self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
            weakref.finalize(self, self._database.close)  # where nobody calls close
            self._database.executescript(
                f"PRAGMA journal_mode = OFF; PRAGMA cache_size = -{CACHE_KIB};{CREATE}BEGIN"
            )
            named = ((os.fsencode(file),) for file in files)
            self._database.executemany("INSERT INTO recordings (file) VALUES (?)", named)
            self._database.execute("COMMIT")

    def __len__(self) -> int:
        return int(self._all("SELECT count(*) FROM recordings", ())[0][0])

    def __iter__(self) -> Iterator[Path]:
        return map(_path, self._pages(ALL))

    def todo(self) -> Iterator[Path]:
        """Go through the recordings without a row, each once, in order.

        Yields:
            The recordings; those that get a row meanwhile may be left out.
        """
        return map(_path, self._pages(WITHOUT_ROW))

    def n_todo(self) -> int:
        """Count the recordings without a row, each once."""
        query = "SELECT count(DISTINCT file) FROM recordings WHERE offset IS NULL"
        return int(self._all(query, ())[0][0])

    def set_offsets(self, rows: Iterable[tuple[str, int]]) -> None:
        """Note where rows begin.

        Args:
            rows: names of recordings, which may be others than those here, and offsets in bytes.
        """
        with self._lock, _told():
            self._database.execute("BEGIN")
            changes = ((offset, os.fsencode(name)) for name, offset in rows)
            self._database.executemany(SET_OFFSET, changes)
            self._database.execute("COMMIT")

    def offsets(self) -> Iterator[int]:
        """Go through where the rows begin, in the order of the recordings.

        Yields:
            Offsets in bytes, for every recording; None for those without a row.
        """
        return self._pages(OFFSETS)

    def close(self) -> None:
        """Remove the file."""
        with self._lock:
            self._database.close()

    def _pages(self, query: str) -> Iterator[Any]:
        """The second columns of all rows of a query, whose first is the position."""
        position = 0
        while rows := self._all(query, (position, PER_PAGE)):
            position = rows[-1][0]
            for _, value in rows:
                yield value

    def _all(self, query: str, values: tuple[int, ...]) -> list[Any]:
        with self._lock, _told():
            return self._database.execute(query, values).fetchall()


def _path(name: bytes) -> Path:
    return Path(os.fsdecode(name))


@contextmanager
def _told() -> Iterator[None]:
    """Turn what goes wrong with the file into an error of the call."""
    try:
        yield
    except sqlite3.Error as error:
        raise ConfigError(
            f"the list of recordings cannot be kept in the folder for temporary files: {error}; "
            "TMPDIR names another"
        ) from error
