"""Cross-validation: one run per fold, side by side in processes of their own."""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from audiomamba.atomic import write_json, write_text
from audiomamba.cores import n_cores
from audiomamba.data import open_manifest
from audiomamba.errors import ConfigError, TrainingError
from audiomamba.output_folders import filled_by_one_call
from audiomamba.provenance import command_line
from audiomamba.recipes import Recipe, to_dict
from audiomamba.train.comparison.workers import Job, Worker, work
from audiomamba.train.distillation.targets import leak_warnings
from audiomamba.train.fitting.processes import warn
from audiomamba.train.fitting.task import data_marks
from audiomamba.train.run import Run
from audiomamba.train.split import split_clips

__all__ = ["CrossValidation", "Fold", "cross_validate"]

RECIPE_NAME = "recipe.json"


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
        """Return the metrics as cells of a table."""
        return _percent(self.accuracy), _percent(self.ema_accuracy), f"{self.seconds:.0f}"


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """What cross_validate found; metrics of the last epoch, never of the best one.

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

    Examples:
        >>> found = CrossValidation(
        ...     folder=Path("runs"), recipe="esc10/starter", seed=0, folds=(), accuracy=0.8,
        ...     accuracy_sd=0.02, ema_accuracy=None, ema_accuracy_sd=None, seconds=60.0,
        ...     wall_seconds=40.0, n_jobs=2, n_threads=1, command="audiomamba cross-validate",
        ... )
        >>> found.to_dict()["accuracy"]
        0.8
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
    weights: Path | None = None,
    progress: bool = True,
) -> CrossValidation:
    """Train once per fold, each time holding that fold out; folds that are done are not repeated.

    Args:
        recipe: what to do.
        data: the data set; its clips have folds.
        out: folder for the folds' runs and for cross_validation.json and .md.
        jobs: folds side by side, each a process; None for one per core.
        n_threads: processor threads for each; None to share the cores out.
        weights: folder that holds the weights that recipes start from.
        progress: whether to show a progress bar over all epochs of all folds.

    Returns:
        Accuracy per fold and over all folds.

    Raises:
        ConfigError: jobs is less than 1; or out holds something else, cannot be written, is being
            written by another call, or is what is read.
        DataError: the data set is not what it should be.
        UnknownNameError: there is no such teacher.
        TrainingError: the data set has less than two folds, or a run failed.

    Examples:
        >>> from audiomamba import recipes
        >>> recipe = recipes.get("own/starter")
        >>> cross_validate(recipe, Path("my-clips"), Path("runs"), jobs=1)
        Traceback (most recent call last):
        audiomamba.errors.TrainingError: my-clips has 0 folds; expected at least 2
    """
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs is {jobs}; expected at least 1")
    with filled_by_one_call(out, [data], (out / RECIPE_NAME).exists):
        means = _Means(jobs, n_threads, weights, progress)
        return _cross_validate(recipe, data, out, means)


class _Means(NamedTuple):
    """How the folds are trained."""

    jobs: int | None
    n_threads: int | None
    weights: Path | None
    progress: bool


def _cross_validate(recipe: Recipe, data: Path, out: Path, means: _Means) -> CrossValidation:
    """Train once per fold, in a folder of which this is the only writer."""
    manifest = open_manifest(data, recipe.corpus, leave_out=out)
    folds = [int(name) for name in manifest.folds]
    if len(folds) < 2:
        raise TrainingError(f"{data} has {len(folds)} folds; expected at least 2")
    splits = [split_clips(manifest, str(fold), recipe.seed) for fold in folds]
    of_teachers = (line for split in splits for line in leak_warnings(recipe, manifest, split))
    warn([*manifest.notes, *manifest.warnings(), *of_teachers])
    n_jobs = min(means.jobs or n_cores(), len(folds))
    n_threads = means.n_threads or max(1, n_cores() // n_jobs)
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    recipe_path = out / RECIPE_NAME
    write_json(recipe_path, to_dict(recipe))
    workers = []
    for fold in folds:
        job = Job(recipe_path, data, out / f"fold-{fold}", fold=fold, weights=means.weights)
        workers.append(Worker(f"fold {fold}", job, n_threads))
    marks = data_marks(manifest)
    waiting = [worker for worker in workers if not worker.is_done(recipe, marks)]
    for failed in work(waiting, n_jobs, recipe.epochs, progress=means.progress):
        if failed.failure is not None:
            raise failed.failure
    result = _summary(recipe, out, folds, time.perf_counter() - started, (n_jobs, n_threads))
    write_json(out / "cross_validation.json", result.to_dict())
    write_text(out / "cross_validation.md", result.to_markdown())
    return result


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
        command=command_line(),
    )


def _result(folder: Path, fold: int) -> Fold:
    """The result of one fold."""
    record = json.loads(Run(folder).record_path.read_text(encoding="utf-8"))
    return Fold(
        fold=fold,
        accuracy=record["metrics"]["accuracy"],
        ema_accuracy=record["metrics"].get("ema_accuracy", record["metrics"].get("swa_accuracy")),
        seconds=record["seconds"],
    )


def _percent(share: float | None) -> str:
    """A share in percent with one decimal."""
    return "" if share is None else f"{100 * share:.1f}"
