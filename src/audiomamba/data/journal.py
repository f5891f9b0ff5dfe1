"""What has been found out about recordings, kept line by line so that no stop loses it."""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar

from audiomamba.errors import ConfigError
from audiomamba.json_lines import JsonLines
from audiomamba.outputs import writing
from audiomamba.progress import Progress

__all__ = ["Journal", "Recording", "worker_count"]

CHUNK = 64  # recordings that are read before the next ones are begun

Recording = tuple[str, str]  # a file's path, and which recording in it
Finding = TypeVar("Finding", bound=NamedTuple)


class Journal(Generic[Finding]):
    """Recordings that were read from beginning to end, and what was found.

    A recording counts as read while its file keeps size and time of change. Each line of the
    journal stands by itself: a line that was cut short is skipped.

    Args:
        path: the journal; it is made if it is not there, and added to if it is.
        kind: the named tuple that holds what is found out about a recording.

    Raises:
        ConfigError: it cannot be read or written.
    """

    def __init__(self, path: Path, kind: type[Finding]) -> None:
        self.path = path
        self._kind = kind
        self._stamps: dict[str, str] = {}
        self._found: dict[Recording, Finding] = {}
        self._lines: JsonLines

    def __enter__(self) -> "Journal[Finding]":
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lines = JsonLines(self.path, self._take)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()

    def __len__(self) -> int:
        return len(self._found)

    def get(self, recording: Recording) -> Finding | None:
        """Tell what was found.

        Args:
            recording: path and key.

        Returns:
            What was found; None if the recording was not read, or has changed since.
        """
        return self._found.get(recording)

    def add(self, recording: Recording, found: Finding) -> None:
        """Write down what was found.

        Args:
            recording: path and key.
            found: what was found.
        """
        self._found[recording] = found
        self._lines.add([*recording, self._stamp(recording[0]), *found])

    def complete(
        self,
        recordings: Sequence[Recording],
        read: Callable[[Recording], Finding | str],
        *,
        n_workers: int,
        progress: Progress | None,
    ) -> dict[Recording, str]:
        """Read what is not known yet, several recordings side by side, and write it down.

        Args:
            recordings: each once.
            read: reads one recording; what is wrong with it, if it cannot be read.
            n_workers: recordings that are read side by side, at least 1.
            progress: called with the number of recordings that are done, and of all.

        Returns:
            What is wrong with the recordings that cannot be read.
        """
        waiting = [recording for recording in recordings if self.get(recording) is None]
        n_done, failed = len(recordings) - len(waiting), dict[Recording, str]()
        # Decoders and hashes work outside Python's lock.
        pool = ThreadPoolExecutor(n_workers)
        try:
            for start in range(0, len(waiting), CHUNK):
                chunk = waiting[start : start + CHUNK]
                for recording, found in zip(chunk, pool.map(read, chunk), strict=True):
                    if isinstance(found, str):
                        failed[recording] = found
                    else:
                        self.add(recording, found)
                    n_done += 1
                    if progress is not None:
                        progress(n_done, len(recordings))
        finally:
            pool.shutdown(cancel_futures=True)
        return failed

    def _take(self, _offset: int, line: bytes) -> None:
        """Take over what an earlier run found, where the file has not changed."""
        path, key, stamp, *values = _parse(line)
        if len(values) == len(self._kind._fields):
            if stamp == self._stamp(path):
                self._found[path, key] = self._kind(*values)
            else:
                self._found.pop((path, key), None)

    def _stamp(self, path: str) -> str:
        """Size and time of change of a file; empty if it is gone."""
        if path not in self._stamps:
            try:
                status = os.stat(path)  # noqa: PTH116 (millions of them)
                times = f"{status.st_mtime_ns}-{status.st_ctime_ns}"  # a copy may keep the first
                self._stamps[path] = f"{status.st_size}-{times}"
            except OSError:
                return ""
        return self._stamps[path]


def worker_count(n_workers: int | None) -> int:
    """Say how many recordings are read side by side.

    Args:
        n_workers: what was asked for; None for one per processor.

    Returns:
        At least 1.

    Raises:
        ConfigError: n_workers is less than 1.
    """
    if n_workers is not None and n_workers < 1:
        raise ConfigError(f"n_workers is {n_workers}; expected at least 1")
    return n_workers or os.cpu_count() or 1


def _parse(line: bytes) -> list[Any]:
    """One line; path, key and stamp without anything found if it was cut short or says nothing."""
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    return entry if isinstance(entry, list) and len(entry) >= 3 else ["", "", ""]
