"""Lines of JSON that are added to a file one by one, and that no stop of the process loses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["JsonLines"]


class JsonLines:
    r"""A file that lines are added to, after those of an earlier process.

    What a killed process left of a last line is cut off.

    Args:
        path: the file; it is made if it is not there.
        take: called with each line that is there: its offset in bytes, and its JSON, not yet read.

    Raises:
        OSError: the file cannot be read or written.

    Examples:
        >>> lines = JsonLines(Path("rows.jsonl"), lambda offset, line: None)
        >>> lines.add({"label": "dog"}), lines.add({"label": "rain"})
        (0, 17)
        >>> lines.close()
        >>> again = JsonLines(Path("rows.jsonl"), lambda offset, line: print(offset, line))
        0 b'{"label": "dog"}\n'
        17 b'{"label": "rain"}\n'
        >>> again.close()
    """

    def __init__(self, path: Path, take: Callable[[int, bytes], None]) -> None:
        offset = 0
        with path.open("ab+") as file:
            file.seek(0)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                take(offset, line)
                offset += len(line)
            file.truncate(offset)
        self._file = path.open("ab", buffering=0)
        self._file.seek(offset)

    def add(self, value: Any) -> int:
        """Add a line; when this returns, killing the process does not lose it.

        Args:
            value: what json.dumps can write.

        Returns:
            The line's offset in the file, in bytes.

        Raises:
            OSError: it cannot be written, as where the disk is full.
        """
        offset, line = self._file.tell(), json.dumps(value).encode() + b"\n"
        while line:  # on a disk that gets full, some of it is written without an error
            line = line[self._file.write(line) :]
        return offset

    def close(self) -> None:
        """Stop; all lines stay."""
        self._file.close()
