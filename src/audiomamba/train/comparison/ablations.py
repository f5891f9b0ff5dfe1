"""Training all cells of an ablation table, and the table beside the paper's figures."""

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from audiomamba import models
from audiomamba.atomic import write_json, write_text
from audiomamba.cores import n_cores
from audiomamba.data import Manifest, open_manifest
from audiomamba.errors import CheckpointError, ConfigError, TrainingError
from audiomamba.output_folders import filled_by_one_call
from audiomamba.provenance import command_line
from audiomamba.recipes import Recipe, to_dict
from audiomamba.recipes.ablations import Ablation, get, recipes_of
from audiomamba.train.comparison.workers import Job, Worker, work
from audiomamba.train.fitting.start import find_start
from audiomamba.train.fitting.task import data_marks
from audiomamba.train.run import Run, metric_of

__all__ = ["CellResult", "SetResult", "run_set"]

METRIC_NAMES = {"accuracy": "accuracy", "mean_average_precision": "mAP"}


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What came of one cell.

    Args:
        name: of the cell.
        n_parameters: how many numbers its model has; None where it could not be made.
        figure: measured, 0 to 1; None if the cell was not run to its end.
        runs: the metric of every run that figure is the mean of, in the order of the folds.
        sd: standard deviation over the folds; None without folds.
        seconds: spent on the epochs.
        paper: the paper's figures, in percent, one for each column of the table.
        problem: why it was not measured; None if it was.
    """

    name: str
    n_parameters: int | None
    figure: float | None
    runs: tuple[float, ...]
    sd: float | None
    seconds: float | None
    paper: tuple[float | None, ...]
    problem: str | None

    def row(self) -> tuple[str, ...]:
        """Return the cell as a row of a table."""
        measured = "not run" if self.figure is None else f"{100 * self.figure:.1f}"
        if self.sd is not None:
            measured += f" ± {100 * self.sd:.1f}"
        figures = ("" if figure is None else f"{figure:.2f}" for figure in self.paper)
        seconds = "" if self.seconds is None else f"{self.seconds:.0f}"
        size = "" if self.n_parameters is None else f"{self.n_parameters / 1e6:.2f} M"
        return self.name, size, measured, *figures, seconds


@dataclass(frozen=True, kw_only=True)
class SetResult:
    """What run_set found; metrics of the last epoch, never of the best one.

    Args:
        folder: where the runs and the table are.
        name: of the table.
        about: what it compares.
        source: the paper and its table.
        base: the recipe that the cells change.
        changes: what was changed in all cells.
        figure: name of the measured metric.
        columns: what the paper's figures are.
        n_folds: folds of the cross-validation; None if there was none.
        cells: one entry per cell.
        command: the command line.

    Examples:
        >>> table = SetResult(
        ...     folder=Path("runs"), name="aum/table-ii", about="tokens", source="AuM, Table II",
        ...     base="aum/base", changes=(), figure="accuracy", columns=("VGGSound",), n_folds=None,
        ...     cells=(), command="audiomamba train --ablation aum/table-ii",
        ... )
        >>> table.to_dict()["name"]
        'aum/table-ii'
    """

    folder: Path
    name: str
    about: str
    source: str
    base: str
    changes: tuple[str, ...]
    figure: str
    columns: tuple[str, ...]
    n_folds: int | None
    cells: tuple[CellResult, ...]
    command: str

    @property
    def problems(self) -> tuple[str, ...]:
        """What went wrong, one line for each cell that was not run to its end."""
        return tuple(f"{cell.name}: {cell.problem}" for cell in self.cells if cell.problem)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as dictionaries, lists, numbers and strings."""
        return asdict(self) | {"folder": str(self.folder)}

    def to_markdown(self) -> str:
        """Return the same as a table."""
        how = f"mean of {self.n_folds} folds" if self.n_folds else "held-out clips"
        paper = (f"paper: {column}" for column in self.columns)
        header = ("", "parameters", f"{METRIC_NAMES[self.figure]}, {how}", *paper, "seconds")
        rows = (header, ("---",) * len(header), *(cell.row() for cell in self.cells))
        table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        changed = f" with {', '.join(self.changes)}" if self.changes else ""
        return (
            f"# {self.name} on {self.base}{changed}\n\n{self.about}\n\n{table}\n\n"
            f"Percent. Measured: after the last epoch. The paper's figures are those of "
            f"{self.source}: its data and its models, which need not be those of this run.\n\n"
            f"    {self.command}\n"
        )


def run_set(
    name: str,
    data: Path,
    out: Path,
    *,
    on: str | None = None,
    changes: Sequence[str] = (),
    cv: bool = False,
    fold: int | None = None,
    jobs: int | None = None,
    n_threads: int | None = None,
    weights: Path | None = None,
    progress: bool = True,
) -> SetResult:
    """Train all cells of a table, each in its own folder; cells that are done are not repeated.

    Args:
        name: of the table, such as "aum/table-ii".
        data: the data set.
        out: folder for the cells' runs and for set.json and set.md.
        on: name of the recipe that the cells change; None for the paper's.
        changes: to all cells alike, as recipes.override reads them.
        cv: whether each cell is cross-validated.
        fold: the fold to hold out, without cross-validation; None for the usual split.
        jobs: runs side by side, each a process; None for one per core, or one on a GPU.
        n_threads: processor threads for each; None to share the cores out.
        weights: folder that holds the weights that cells start from, as for fit.
        progress: whether to show a progress bar.

    Returns:
        The cells' metrics; why there are none where weights are missing or a run failed.

    Raises:
        UnknownNameError: there is no such table or recipe.
        ConfigError: a change does not fit, fold and cv are both given, jobs is less than 1; or out
            cannot be filled, as filled_by_one_call says.
        DataError: the data set is not what it should be.
        TrainingError: the data set has less than two folds to cross-validate on.

    Examples:
        >>> run_set("aum/table-ii", Path("my-clips"), Path("runs"), on="own/starter", cv=True)
        Traceback (most recent call last):
        audiomamba.errors.TrainingError: the data set has 0 folds; expected at least 2
    """
    if cv and fold is not None:
        raise ConfigError(f"cv is set and fold is {fold}; choose one of them")
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs is {jobs}; expected at least 1")
    cells = [
        _Cell(cell, recipe, out / _folder_name(cell))
        for cell, recipe in recipes_of(name, on=on, changes=changes).items()
    ]
    with filled_by_one_call(out, [data], lambda: any(out.glob("*/recipe.json"))):
        manifest = open_manifest(data, cells[0].recipe.corpus, leave_out=out)
        folds = _folds(manifest) if cv else (fold,)
        means = _Means(data, weights, jobs, n_threads, progress)
        sizes, problems = _train(cells, folds, manifest, means)
        results = [cell.result(folds, sizes, problems, get(name)) for cell in cells]
        about = _About(on, tuple(changes), cells[0].recipe.best_by, len(folds) if cv else None)
        return _write(get(name), out, results, about)


class _Means(NamedTuple):
    """What all runs have in common."""

    data: Path
    weights: Path | None
    jobs: int | None
    n_threads: int | None
    progress: bool


class _About(NamedTuple):
    """What a table says about all of its cells."""

    on: str | None
    changes: tuple[str, ...]
    metric: str
    n_folds: int | None


@dataclass(frozen=True)
class _Cell:
    """A recipe, and where its runs are."""

    name: str
    recipe: Recipe
    folder: Path

    def n_parameters(self, n_classes: int) -> int:
        """The size of the model, which is not made."""
        with torch.device("meta"):
            model = models.create(
                self.recipe.model,
                **self.recipe.model_changes,
                n_classes=n_classes,
                n_mels=self.recipe.front_end.n_mels,
                n_frames=self.recipe.front_end.n_frames,
            )
        return sum(weight.numel() for weight in model.parameters())

    def run_folder(self, fold: int | None) -> Path:
        """Where the run that holds a fold out is."""
        return self.folder / ("run" if fold is None else f"fold-{fold}")

    def worker(self, data: Path, fold: int | None, weights: Path | None, n_threads: int) -> Worker:
        """The process that trains it; its recipe is written down."""
        recipe_path = self.folder / "recipe.json"
        recipe_path.parent.mkdir(parents=True, exist_ok=True)
        write_json(recipe_path, to_dict(self.recipe))
        label = self.name if fold is None else f"{self.name}, fold {fold}"
        job = Job(recipe_path, data, self.run_folder(fold), fold=fold, weights=weights)
        return Worker(label, job, n_threads)

    def result(
        self,
        folds: Sequence[int | None],
        sizes: Mapping[str, int],
        problems: Mapping[str, str],
        table: Ablation,
    ) -> CellResult:
        """The mean over its runs, if all are complete."""
        problem = problems.get(self.name)
        records = [Run(self.run_folder(fold)).record() or {} for fold in folds]
        measured, seconds = list[float](), 0.0
        for record in () if problem else records:
            metric = metric_of(record["metrics"], self.recipe.best_by)
            if metric is not None:
                measured.append(metric)
            seconds += record["seconds"]
        return CellResult(
            name=self.name,
            n_parameters=sizes.get(self.name),
            figure=statistics.mean(measured) if measured else None,
            runs=tuple(measured),
            sd=statistics.stdev(measured) if len(measured) > 1 else None,
            seconds=seconds if measured else None,
            paper=table.cells[self.name].figures,
            problem=problem,
        )


def _share_out(n_runs: int, jobs: int | None, n_threads: int | None) -> tuple[int, int]:
    """How many runs are side by side, and how many threads each has."""
    n_jobs = min(jobs or (1 if torch.cuda.is_available() else n_cores()), max(1, n_runs))
    return n_jobs, n_threads or max(1, n_cores() // n_jobs)


def _train(
    cells: Sequence[_Cell], folds: Sequence[int | None], manifest: Manifest, means: _Means
) -> tuple[dict[str, int], dict[str, str]]:
    """Do all runs that are not done; the models' sizes, and why cells failed, by their names."""
    problems = _missing_weights(cells, means.weights)
    able = [cell for cell in cells if cell.name not in problems]
    sizes = {cell.name: cell.n_parameters(len(manifest.labels)) for cell in able}
    pairs = [(cell, fold) for cell in able for fold in folds]
    n_jobs, n_threads = _share_out(len(pairs), means.jobs, means.n_threads)
    workers = {
        cell.worker(means.data, fold, means.weights, n_threads): cell for cell, fold in pairs
    }
    marks = data_marks(manifest)
    waiting = [worker for worker, cell in workers.items() if not worker.is_done(cell.recipe, marks)]
    n_epochs = max((workers[worker].recipe.epochs for worker in waiting), default=0)
    failed = work(waiting, n_jobs, n_epochs, progress=means.progress)
    return sizes, problems | {workers[worker].name: str(worker.failure) for worker in failed}


def _write(table: Ablation, out: Path, cells: Sequence[CellResult], about: _About) -> SetResult:
    """Put the cells together, and write the table."""
    result = SetResult(
        folder=out,
        name=table.name,
        about=table.about,
        source=table.source,
        base=about.on or table.base,
        changes=about.changes,
        figure=about.metric,
        columns=table.columns,
        n_folds=about.n_folds,
        cells=tuple(cells),
        command=command_line(),
    )
    write_json(out / "set.json", result.to_dict())
    write_text(out / "set.md", result.to_markdown())
    return result


def _missing_weights(cells: Iterable[_Cell], weights: Path | None) -> dict[str, str]:
    """The cells whose weights to start from are missing, and what to do."""
    problems = {}
    for cell in cells:
        try:
            if cell.recipe.init is not None:
                find_start(cell.recipe.init, weights)
        except CheckpointError as error:
            problems[cell.name] = str(error)
    return problems


def _folds(manifest: Manifest) -> tuple[int, ...]:
    """The folds of a data set."""
    folds = tuple(int(name) for name in manifest.folds)
    if len(folds) < 2:
        raise TrainingError(f"the data set has {len(folds)} folds; expected at least 2")
    return folds


def _folder_name(cell: str) -> str:
    """A cell's name as that of a folder."""
    return re.sub(r"[^a-z0-9]+", "-", cell.lower()).strip("-")
