"""Sides in processes of their own, which take turns."""

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import torch

from audiomamba.bench.throughput.sides import Side, make
from audiomamba.errors import AudioMambaError

__all__ = ["Found", "chosen", "take_turns"]

N_WARMING = 8  # files


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was measured of a side.

    Args:
        side: the side.
        n_files: files that were done in each round.
        n_threads: of each process.
        wall_s: of each round, by the clock: of the slowest process.
        cpu_s: of each round, of all threads of all processes together.
        parts_ms: median processor time of each part and file, where there are parts.
        missing: why it could not be run; empty if it could.
    """

    side: Side
    n_files: int
    n_threads: int
    wall_s: list[float]
    cpu_s: list[float]
    parts_ms: dict[str, float]
    missing: str = ""


def take_turns(
    sides: Sequence[Side], files: Sequence[Path], *, n_threads: int, n_rounds: int
) -> list[Found]:
    """Let sides do the same files in turns.

    Args:
        sides: at least one.
        files: those to choose from; of each suffix as large a share as there is.
        n_threads: of each side that does not say it.
        n_rounds: turns of each side.

    Returns:
        What was measured of each.
    """
    with ExitStack() as stack:
        teams = [stack.enter_context(_team(side, files, n_threads)) for side in sides]
        rounds: list[list[_Run]] = [[] for _ in sides]
        for _ in range(n_rounds):
            for team, runs in zip(teams, rounds, strict=True):
                if not team.missing:
                    runs.append(team.run())
        return [
            _found(side, team, runs, n_threads)
            for side, team, runs in zip(sides, teams, rounds, strict=True)
        ]


def chosen(files: Sequence[Path], n_files: int) -> list[Path]:
    """Choose files evenly from a list, those of one suffix after the other.

    Args:
        files: the list.
        n_files: how many at most.

    Returns:
        The files.

    Examples:
        >>> [file.name for file in chosen([Path("a.wav"), Path("b.mp3"), Path("c.wav")], 2)]
        ['b.mp3', 'a.wav']
    """
    ordered = sorted(files, key=lambda file: (file.suffix.lower(), file))
    n_taken = min(n_files, len(ordered))
    return [ordered[index * len(ordered) // n_taken] for index in range(n_taken)]


@dataclass(frozen=True)
class _Run:
    """One turn: times in s, those of the parts by name."""

    wall_s: float
    cpu_s: float
    parts_s: dict[str, float]


@dataclass(frozen=True)
class _Team:
    """The processes of a side."""

    n_files: int
    pipes: Sequence[Connection]
    missing: str

    def run(self) -> _Run:
        """Let all processes do their files."""
        began = time.perf_counter()
        for pipe in self.pipes:
            pipe.send(True)
        runs: list[_Run] = [pipe.recv() for pipe in self.pipes]
        took_s = time.perf_counter() - began
        return _Run(took_s, sum(run.cpu_s for run in runs), runs[0].parts_s)


@contextmanager
def _team(side: Side, files: Sequence[Path], n_threads: int) -> Iterator[_Team]:
    """Start the processes of a side; they end with the block."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    own = chosen(files, side.n_files)
    pipes, processes, missing = [], [], ""
    for number in range(side.n_processes):
        pipe, theirs = context.Pipe()
        shard = own[number :: side.n_processes]
        process = context.Process(
            target=_serve,
            args=(side, shard, number, side.n_threads or n_threads, theirs),
            daemon=True,
        )
        process.start()
        theirs.close()
        pipes.append(pipe)
        processes.append(process)
    try:
        for pipe in pipes:
            missing = _answer(pipe) or missing
        yield _Team(len(own), pipes, missing)
    finally:
        for pipe, process in zip(pipes, processes, strict=True):
            pipe.close()
            process.join()


def _answer(pipe: Connection) -> str:
    """Why a process cannot work, once it has loaded; empty if it can."""
    try:
        answer: str = pipe.recv()
    except EOFError:
        return "its process ended"
    return answer


def _serve(
    side: Side, files: Sequence[Path], number: int, n_threads: int, pipe: Connection
) -> None:
    """What a process does: load, warm up, and do its files each time that it is told to."""
    torch.set_num_threads(n_threads)
    if side.pinned and hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[number % len(allowed)]})
    try:
        work = make(side)
        work(files[:N_WARMING])
    except (AudioMambaError, ImportError) as error:
        pipe.send(str(error))
        return
    pipe.send("")
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        began, began_cpu = time.perf_counter(), time.process_time()
        parts = work(files)
        pipe.send(_Run(time.perf_counter() - began, time.process_time() - began_cpu, parts))


def _found(side: Side, team: _Team, runs: Sequence[_Run], n_threads: int) -> Found:
    parts = runs[0].parts_s if runs else {}
    return Found(
        side=side,
        n_files=team.n_files,
        n_threads=side.n_threads or n_threads,
        wall_s=[run.wall_s for run in runs],
        cpu_s=[run.cpu_s for run in runs],
        parts_ms={
            part: 1000 * median(run.parts_s[part] for run in runs) / team.n_files for part in parts
        },
        missing=team.missing,
    )
