"""Workers on one machine: started, given parts, and started again when they end.

All that is decided here can be decided again by another call: which parts are done is known from
their records alone.
"""

import multiprocessing
import os
import queue
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from audiomamba.bulk.part import numbers_done
from audiomamba.bulk.plan import Plan
from audiomamba.bulk.worker import GROUP_FILES, Job, Said, WorkerOptions, work
from audiomamba.errors import ConfigError

__all__ = ["ALL", "Progress", "Share", "launch"]

N_ENDS = 2  # of a process, until what it was at work with is suspected
MOST_ENDS = 30  # of processes that have worked on one part
MOST_BAD_STARTS = 5  # of processes in a row that have ended before they were ready
START = "forkserver" if sys.platform != "win32" else "spawn"
PATIENCE_S = 10.0  # for workers that were told to end


@dataclass(frozen=True)
class Share:
    """One of several equal shares of a plan's parts.

    Args:
        index: which one, from 0.
        of: how many there are.

    Raises:
        ConfigError: there is no such share.

    Examples:
        >>> Share.parse("1/3").parts(8)
        [1, 4, 7]
    """

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of:
            raise ConfigError(f"share {self.index}/{self.of}; expected 0/N to N-1/N")

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Read I/N.

        Args:
            text: such as "0/3".

        Returns:
            The share.

        Raises:
            ConfigError: it is something else, or there is no such share.
        """
        index, _, of = text.partition("/")
        if not (index.isdecimal() and of.isdecimal()):
            raise ConfigError(f"--shard {text}: not understood; expected I/N, such as 0/3")
        return cls(int(index), int(of))

    def parts(self, n_parts: int) -> list[int]:
        """List the parts of this share.

        Args:
            n_parts: of the whole plan.

        Returns:
            Their numbers.
        """
        return list(range(self.index, n_parts, self.of))


ALL = Share(0, 1)


@dataclass
class Progress:
    """What this call has done so far.

    Args:
        n_parts: parts that it set out to do.
        n_done: parts that are done.
        n_rows: rows written.
        n_failed: those with an error.
        n_ended: workers that ended before their time.
    """

    n_parts: int
    n_done: int = 0
    n_rows: int = 0
    n_failed: int = 0
    n_ended: int = 0


@dataclass
class _History:
    """How often workers have ended, and with what they were at work."""

    ends: int = 0
    groups: Counter[int] = field(default_factory=Counter)
    files: Counter[int] = field(default_factory=Counter)

    @property
    def lost(self) -> list[int]:
        """Files that end workers."""
        return sorted(file for file, n_ends in self.files.items() if n_ends >= N_ENDS)

    def suspects(self, n_files: int) -> list[int]:
        """Files that are tried alone before their part is computed."""
        return [
            file
            for start, n_ends in sorted(self.groups.items())
            if n_ends >= N_ENDS
            for file in range(start, min(start + GROUP_FILES, n_files))
            if self.files[file] < N_ENDS
        ]


class _Process:
    """A worker, and what it is at work with."""

    def __init__(self, out: str, options: WorkerOptions, events: "queue.Queue[_Event]") -> None:
        self._events = events
        self.part: int | None = None
        self.at: dict[str, int] = {}
        self.is_ready = False
        context = multiprocessing.get_context(START)
        if START == "forkserver":  # where all is imported once, so that workers start at once
            context.set_forkserver_preload([work.__module__])
        self._line, far = context.Pipe()
        self._process = context.Process(target=work, args=(far, out, options, dict(os.environ)))  # type: ignore[attr-defined]
        self._process.start()
        far.close()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._events.put((self, self._line.recv()))
        self._events.put((self, None))

    def give(self, job: Job | None) -> None:
        """Give it a part; None lets it end."""
        self.part, self.at = None if job is None else job.part, {}
        with suppress(OSError):  # it has ended, which another event tells
            self._line.send(job)

    def wait(self) -> int:
        """Wait until it has ended; returns how."""
        self._process.join(PATIENCE_S)
        return self.kill()

    def kill(self) -> int:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.join()
        return int(self._process.exitcode or 0)


_Event = tuple[_Process, Said | None]


class _Launch:
    """One call that works on a share of a plan."""

    def __init__(self, plan: Plan, parts: list[int], options: WorkerOptions) -> None:
        self._plan, self._waiting = plan, parts
        self._options = options
        self._events: queue.Queue[_Event] = queue.Queue()
        self._history: dict[int, _History] = {}
        self._processes: list[_Process] = []
        self._n_bad_starts = 0
        self.progress = Progress(len(parts))

    def run(self, n_workers: int, tell: Callable[[Progress], None]) -> None:
        """Work until all is done."""
        try:
            for _ in range(min(n_workers, len(self._waiting))):
                self._start()
            while self._processes:
                process, event = self._events.get()
                if event is None:
                    self._ended(process)
                else:
                    self._take(process, event)
                tell(self.progress)
        finally:
            for process in self._processes:
                process.kill()

    def _start(self) -> None:
        out = self._plan.storage.address
        self._processes.append(_Process(out, self._options, self._events))

    def _take(self, process: _Process, event: Said) -> None:
        """Note what a worker says."""
        kind = event["event"]
        if kind == "error":
            raise ConfigError(event["message"])
        if kind == "ready":
            process.is_ready, self._n_bad_starts = True, 0
            self._give(process)
        elif kind == "done":
            self.progress.n_done += 1
            self.progress.n_rows += event["n_rows"]
            self.progress.n_failed += event["n_failed"]
            self._history.pop(event["part"], None)
            self._give(process)
        elif kind == "tried":
            process.at = {}
            self._history[event["part"]].groups.clear()
        else:
            process.at = event

    def _give(self, process: _Process) -> None:
        """Give a worker the next part, or let it end."""
        if not self._waiting:
            process.give(None)
            return
        part = self._waiting.pop()
        history = self._history.get(part, _History())
        suspects = history.suspects(self._plan.n_files_of(part))
        process.give(Job(part=part, lost=tuple(history.lost), suspects=tuple(suspects)))

    def _ended(self, process: _Process) -> None:
        """Take back what a worker that has ended had to do, and start another."""
        code = process.wait()
        self._processes.remove(process)
        if process.is_ready and process.part is None and not code:
            return
        self.progress.n_ended += 1
        if not process.is_ready:
            self._n_bad_starts += 1
            if self._n_bad_starts >= MOST_BAD_STARTS:
                raise ConfigError(
                    f"{MOST_BAD_STARTS} workers in a row ended before they were ready, the last "
                    f"with exit code {code}"
                )
        if process.part is not None:
            self._note_end(process.part, process.at)
            self._waiting.append(process.part)
        if self._waiting:
            self._start()

    def _note_end(self, part: int, at: dict[str, int]) -> None:
        """Remember what a worker was at work with when it ended."""
        history = self._history.setdefault(part, _History())
        history.ends += 1
        if "file" in at:
            history.files[at["file"]] += 1
        elif "group" in at:
            history.groups[at["group"]] += 1
        if history.ends >= MOST_ENDS:
            raise ConfigError(
                f"part {part} has ended {MOST_ENDS} workers; its files are in the plan"
            )


def launch(
    plan: Plan,
    share: Share = ALL,
    *,
    n_workers: int = 1,
    options: WorkerOptions | None = None,
    tell: Callable[[Progress], None] | None = None,
) -> Progress:
    """Compute the parts of a share that are not done yet, by processes of this machine.

    Several calls may do so at once, on one machine or on many, also for the same share: they take
    the parts in orders of their own and skip what is done.

    Args:
        plan: the plan.
        share: which parts.
        n_workers: processes, at least 1.
        options: how they work; None for the defaults.
        tell: called with the progress, whenever there is some.

    Returns:
        What was done.

    Raises:
        ConfigError: something cannot be read or written, or workers cannot work; what is done
            stays, and the same call goes on.

    Examples:
        >>> from audiomamba import checkpoints
        >>> from audiomamba.bulk import Computation, make_plan
        >>> from audiomamba.bulk.sources import list_recordings
        >>> clips, model = list_recordings("my-clips"), checkpoints.find("general")
        >>> plan = make_plan(clips, "tagged", model, Computation())
        >>> launch(plan, Share(1, 2)).n_parts  # the second half of one part
        0
    """
    if n_workers < 1:
        raise ConfigError(f"{n_workers} workers were asked for; expected at least 1")
    try:
        done = numbers_done(plan.storage)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{plan.storage} cannot be read: {reason}") from error
    parts = [part for part in share.parts(plan.n_parts) if part not in done]
    random.Random().shuffle(parts)  # so that calls on the same share do not do the same
    work = _Launch(plan, parts, options or WorkerOptions())
    work.run(n_workers, tell or (lambda _progress: None))
    return work.progress
