"""Cross-validation: one run per fold, side by side in processes of their own."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from audiomamba.data import open_manifest
from audiomamba.errors import ConfigError, TrainingError
from audiomamba.recipes import Recipe, to_dict
from audiomamba.train.run import Run, n_cores, write_json, write_text

__all__ = ["CrossValidation", "Fold", "cross_validate"]

POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One fold's run.

    Args:
        fold: number of the fold that was held out.
        accuracy: of the last epoch's weights.
        ema_accuracy: of the averaged weights after the last epoch; None if there is no average.
        seconds: time spent on its epochs.
    """

    fold: int
    accuracy: float
    ema_accuracy: float | None
    seconds: float

    def cells(self) -> tuple[str, str, str]:
        """Return the figures as cells of a table."""
        return _percent(self.accuracy), _percent(self.ema_accuracy), f"{self.seconds:.0f}"


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """What cross_validate found; figures of the last epoch, never of the best one.

    Args:
        folder: where the runs and the summary are.
        recipe: name of the recipe.
        seed: seed of every run.
        folds: one entry per fold.
        accuracy: mean over the folds, of the last epoch's weights.
        accuracy_sd: standard deviation over the folds.
        ema_accuracy: the same for the averaged weights; None if there is no average.
        ema_accuracy_sd: its standard deviation.
        seconds: time spent on the epochs of all folds.
        wall_seconds: time this call took.
        n_jobs: folds side by side.
        n_threads: processor threads for each.
        command: the command line.
    """

    folder: Path
    recipe: str
    seed: int
    folds: tuple[Fold, ...]
    accuracy: float
    accuracy_sd: float
    ema_accuracy: float | None
    ema_accuracy_sd: float | None
    seconds: float
    wall_seconds: float
    n_jobs: int
    n_threads: int
    command: str

    def to_dict(self) -> dict[str, Any]:
        """Return the same as dictionaries, lists, numbers and strings."""
        return asdict(self) | {"folder": str(self.folder)}

    def to_markdown(self) -> str:
        """Return the same as a table."""
        rows = [
            ("held out", "last epoch", "averaged weights", "seconds"),
            ("---", "---", "---", "---"),
            *((f"fold {one.fold}", *one.cells()) for one in self.folds),
            (
                "mean",
                _percent(self.accuracy),
                _percent(self.ema_accuracy),
                f"{self.seconds / len(self.folds):.0f}",
            ),
            ("sd", _percent(self.accuracy_sd), _percent(self.ema_accuracy_sd), ""),
        ]
        table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        return (
            f"# {self.recipe}: {len(self.folds)} folds, seed {self.seed}\n\n{table}\n\n"
            "Accuracy in percent after the last epoch, and its standard deviation over the folds; "
            f"seconds of training, in total {self.seconds:.0f} with {self.n_jobs} folds side by "
            f"side, {self.n_threads} thread(s) each.\n\n    {self.command}\n"
        )


def cross_validate(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    jobs: int | None = None,
    n_threads: int | None = None,
    progress: bool = True,
) -> CrossValidation:
    """Train once per fold, each time holding that fold out; folds that are done are not repeated.

    Args:
        recipe: what to do.
        data: the data set; its clips have folds.
        out: folder for the folds' runs and for cross_validation.json and .md.
        jobs: folds side by side, each a process; None for one per core.
        n_threads: processor threads for each; None to share the cores out.
        progress: whether to show a progress bar over all epochs of all folds.

    Returns:
        Accuracy per fold and over all folds.

    Raises:
        ConfigError: jobs is less than 1.
        DataError: the data set is not what it should be.
        TrainingError: the data set has less than two folds, or a run failed.
    """
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs is {jobs}; expected at least 1")
    folds = [int(name) for name in open_manifest(data, recipe.corpus).folds]
    if len(folds) < 2:
        raise TrainingError(f"{data} has {len(folds)} folds; expected at least 2")
    n_jobs = min(jobs or n_cores(), len(folds))
    n_threads = n_threads or max(1, n_cores() // n_jobs)
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    recipe_path = out / "recipe.json"
    write_json(recipe_path, to_dict(recipe))
    workers = [_Worker(recipe_path, data, out / f"fold-{fold}", fold, n_threads) for fold in folds]
    waiting = [worker for worker in workers if not worker.is_done(recipe)]
    _work(waiting, n_jobs, recipe.epochs, progress=progress)
    result = _summary(recipe, out, folds, time.perf_counter() - started, (n_jobs, n_threads))
    write_json(out / "cross_validation.json", result.to_dict())
    write_text(out / "cross_validation.md", result.to_markdown())
    return result


class _Worker:
    """A process that trains one fold."""

    def __init__(self, recipe: Path, data: Path, out: Path, fold: int, n_threads: int) -> None:
        self.run = Run(out)
        self.fold = fold
        self.arguments = [str(recipe), str(data), str(out), str(fold), str(n_threads)]
        self.n_threads = n_threads
        self.process: subprocess.Popen[bytes] | None = None

    def is_done(self, recipe: Recipe) -> bool:
        """Whether an earlier call finished this fold with the same recipe."""
        record = self.run.record() or {}
        return "metrics" in record and record["recipe"] == to_dict(recipe)

    def start(self) -> None:
        """Start the process; it ends itself if this one ends, which closes its standard input."""
        self.run.folder.mkdir(parents=True, exist_ok=True)
        with (self.run.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "audiomamba.train.worker", *self.arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"OMP_NUM_THREADS": str(self.n_threads)},
            )

    def poll(self) -> bool:
        """Whether the process has ended well.

        Raises:
            TrainingError: it has ended otherwise.
        """
        code = None if self.process is None else self.process.poll()
        if code:
            log = self.run.folder / "log.txt"
            last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
            raise TrainingError(f"fold {self.fold} failed: {last or f'exit code {code}'} ({log})")
        return code == 0

    def stop(self) -> None:
        """End the process if it runs."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.communicate()


def _work(workers: Sequence[_Worker], n_jobs: int, n_epochs: int, *, progress: bool) -> None:
    """Run all workers, so many at a time."""
    waiting, running = list(workers), list[_Worker]()
    bar = tqdm(total=n_epochs * len(workers), unit="epoch", disable=not progress)
    try:
        while waiting or running:
            while waiting and len(running) < n_jobs:
                running.append(waiting.pop(0))
                running[-1].start()
            time.sleep(POLL_S)
            running = [worker for worker in running if not worker.poll()]
            bar.update(sum(len(worker.run.epochs()) for worker in workers) - bar.n)
    finally:
        bar.close()
        for worker in workers:
            worker.stop()


def _summary(
    recipe: Recipe, out: Path, folds: Sequence[int], wall_s: float, jobs: tuple[int, int]
) -> CrossValidation:
    """Collect the results of all folds."""
    done = [_result(out / f"fold-{fold}", fold) for fold in folds]
    averaged = [one.ema_accuracy for one in done if one.ema_accuracy is not None]
    last = [one.accuracy for one in done]
    return CrossValidation(
        folder=out,
        recipe=recipe.name,
        seed=recipe.seed,
        folds=tuple(done),
        accuracy=statistics.mean(last),
        accuracy_sd=statistics.stdev(last),
        ema_accuracy=statistics.mean(averaged) if averaged else None,
        ema_accuracy_sd=statistics.stdev(averaged) if averaged else None,
        seconds=sum(one.seconds for one in done),
        wall_seconds=wall_s,
        n_jobs=jobs[0],
        n_threads=jobs[1],
        command=" ".join(sys.argv),
    )


def _result(folder: Path, fold: int) -> Fold:
    """The result of one fold."""
    record = json.loads(Run(folder).record_path.read_text(encoding="utf-8"))
    return Fold(
        fold=fold,
        accuracy=record["metrics"]["accuracy"],
        ema_accuracy=record["metrics"].get("ema_accuracy"),
        seconds=record["seconds"],
    )


def _percent(share: float | None) -> str:
    """A share in percent with one decimal."""
    return "" if share is None else f"{100 * share:.1f}"
