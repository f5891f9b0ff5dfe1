"""A file of events to which whole lines are appended; a line that was cut off is taken away."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audiomamba.errors import ConfigError
from audiomamba.infer.formats.text import json_line

__all__ = ["EventsFile", "Row"]

Row = dict[str, Any]


class EventsFile:
    """JSON lines that are on the disk when append returns.

    Args:
        path: the file; it is made.

    Raises:
        ConfigError: it cannot be written.

    Examples:
        >>> events = EventsFile(Path("events.jsonl"))
        >>> events.append([{"label": "Dog"}])
        >>> events.since(0)
        [{'label': 'Dog'}]
        >>> events.close()
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("ab+", buffering=0)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
        self._take_away_half_a_line()

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._file.seek(0, os.SEEK_END)

    def append(self, rows: Iterable[Row]) -> None:
        """Append lines, in one piece.

        Args:
            rows: one for each line.
        """
        data = "".join(map(json_line, rows)).encode("utf-8", "backslashreplace")
        while data:
            data = data[self._file.write(data) :]
        os.fsync(self._file.fileno())

    def since(self, offset: int) -> list[Row]:
        """Read the lines from an offset on.

        Args:
            offset: in bytes, at the beginning of a line; beyond the file's end nothing is read.

        Returns:
            The lines that are JSON objects.
        """
        self._file.seek(offset)
        rows = []
        for line in self._file.readall().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            rows += [row] if isinstance(row, dict) else []
        return rows

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take_away_half_a_line(self) -> None:
        """What is after the last line's end was cut off while it was written."""
        end = size = self.size
        while end:
            self._file.seek(max(0, end - 4096))
            block = self._file.read(min(end, 4096))
            if b"\n" in block:
                end -= len(block) - block.rindex(b"\n") - 1
                break
            end -= len(block)
        if end < size:
            self._file.truncate(end)
