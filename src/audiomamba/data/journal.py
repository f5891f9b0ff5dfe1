"""What has been found out about recordings, kept line by line so that no stop loses it."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import IO

from audiomamba.data.clip_reader import Examined
from audiomamba.errors import DataError

__all__ = ["Journal", "Recording"]

Recording = tuple[str, str]  # a file's path, and which recording in it


class Journal:
    """Recordings that were read from beginning to end, and what was found.

    A recording counts as read while its file keeps size and time of change. Each line of the
    journal stands by itself: a line that was cut short is skipped.

    Args:
        path: the journal; it is made if it is not there, and added to if it is.

    Raises:
        DataError: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamps: dict[str, str] = {}
        self._found: dict[Recording, Examined] = {}
        self._file: IO[str]

    def __enter__(self) -> "Journal":
        try:
            self._read()
            self._file = self.path.open(
                "a", encoding="utf-8", errors="surrogateescape", buffering=1
            )
            if self._file.tell():
                self._file.write("\n")  # ends a line that was cut short; an empty line says nothing
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written: {error.strerror}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._found)

    def get(self, recording: Recording) -> Examined | None:
        """Tell what was found.

        Args:
            recording: path and key.

        Returns:
            What was found; None if the recording was not read, or has changed since.
        """
        return self._found.get(recording)

    def add(self, recording: Recording, found: Examined) -> None:
        """Write down what was found.

        Args:
            recording: path and key.
            found: its rate, length and hash.
        """
        self._found[recording] = found
        self._file.write(json.dumps([*recording, self._stamp(recording[0]), *found]) + "\n")

    def _read(self) -> None:
        """Take over what an earlier run found, where files have not changed."""
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return
        with self.path.open(encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                entry = _parse(line)
                if entry is not None:
                    path, key, stamp, found = entry
                    if stamp == self._stamp(path):
                        self._found[path, key] = found
                    else:
                        self._found.pop((path, key), None)

    def _stamp(self, path: str) -> str:
        """Size and time of change of a file; empty if it is gone."""
        if path not in self._stamps:
            try:
                status = os.stat(path)  # noqa: PTH116 (millions of them)
                self._stamps[path] = f"{status.st_size}-{status.st_mtime_ns}"
            except OSError:
                return ""
        return self._stamps[path]


def _parse(line: str) -> tuple[str, str, str, Examined] | None:
    """One line; None if it was cut short or says nothing."""
    try:
        path, key, stamp, rate, seconds, digest = json.loads(line)
    except ValueError:
        return None
    return path, key, stamp, Examined(rate, seconds, digest)
