"""Runs side by side, each in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from audiomamba.errors import ConfigError, RunFailedError, TrainingError
from audiomamba.recipes import Recipe, from_dict
from audiomamba.train.fitting.processes import started_together
from audiomamba.train.run import LOG_NAME, Run

__all__ = ["Job", "Worker", "work"]

POLL_S = 0.5
WRONG_CALL = 2  # exit code of a process that was refused what it was to do


@dataclass(frozen=True)
class Job:
    """What one process trains.

    Args:
        recipe: the file that holds the recipe.
        data: the data set.
        out: the run's folder.
        fold: the fold to hold out; None for the usual split.
        weights: folder that holds the weights that recipes start from; None if there is none.
    """

    recipe: Path
    data: Path
    out: Path
    fold: int | None = None
    weights: Path | None = None

    def arguments(self, n_threads: int) -> list[str]:
        """Return the arguments of audiomamba.train.comparison.worker."""
        values = (self.recipe, self.data, self.out, self.fold, n_threads, self.weights)
        return ["" if value is None else str(value) for value in values]


class Worker:
    """A process that trains.

    Args:
        label: what it trains, for messages.
        job: what it trains, in full.
        n_threads: processor threads for it.
    """

    def __init__(self, label: str, job: Job, n_threads: int) -> None:
        self.run = Run(job.out)
        self.label = label
        self.arguments = job.arguments(n_threads)
        self.n_threads = n_threads
        self.process: subprocess.Popen[bytes] | None = None

    def is_done(self, recipe: Recipe, marks: Mapping[str, str]) -> bool:
        """Whether an earlier call finished this run with the same recipe on the same data."""
        record = self.run.record() or {}
        if any(record.get("data", {}).get(name, mark) != mark for name, mark in marks.items()):
            return False
        try:
            return "metrics" in record and from_dict(record["recipe"]) == recipe
        except ConfigError:  # a recipe of another version
            return False

    def start(self) -> None:
        """Start the process; it ends itself if this one ends, which closes its standard input."""
        self.run.folder.mkdir(parents=True, exist_ok=True)
        with (self.run.folder / LOG_NAME).open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "audiomamba.train.comparison.worker", *self.arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"OMP_NUM_THREADS": str(self.n_threads)},
            )

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def failure(self) -> TrainingError | None:
        """Why the process ended badly, if it did."""
        code = None if self.process is None else self.process.poll()
        if not code:
            return None
        log = self.run.folder / LOG_NAME
        last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        kind = TrainingError if code == WRONG_CALL else RunFailedError
        return kind(f"{self.label} failed: {last or f'exit code {code}'} ({log})")

    def stop(self) -> None:
        """End the process if it runs."""
        if self.process is not None:
            if self.is_running:
                self.process.kill()
            self.process.communicate()


def work(
    workers: Sequence[Worker], n_jobs: int, n_epochs: int, *, progress: bool
) -> Iterator[Worker]:
    """Run all workers, so many at a time; whoever stops asking for failures ends those that run.

    Args:
        workers: the workers.
        n_jobs: how many at a time.
        n_epochs: epochs that each trains.
        progress: whether to show a progress bar over all epochs.

    Yields:
        Workers that failed, as they do.

    Raises:
        ConfigError: this process is one of several that torchrun started.
    """
    if started_together() > 1:
        raise ConfigError(
            f"torchrun started {started_together()} processes for one run, but several runs were "
            "asked for; start this command without torchrun"
        )
    waiting, running = list(workers), list[Worker]()
    bar = tqdm(total=n_epochs * len(workers), unit="epoch", disable=not progress)
    try:
        while waiting or running:
            while waiting and len(running) < n_jobs:
                running.append(waiting.pop(0))
                running[-1].start()
            time.sleep(POLL_S)
            ended = [worker for worker in running if not worker.is_running]
            running = [worker for worker in running if worker not in ended]
            bar.update(sum(len(worker.run.epochs()) for worker in workers) - bar.n)
            yield from (worker for worker in ended if worker.failure is not None)
    finally:
        bar.close()
        for worker in workers:
            worker.stop()
