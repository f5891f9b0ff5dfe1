"""The page: one HTML file that needs nothing else, neither scripts nor a network."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from audiomamba.atomic import write_text
from audiomamba.errors import ConfigError, MissingDependencyError
from audiomamba.outputs import sole_writer, writing
from audiomamba.report.curves import draw_curves, has_averages
from audiomamba.report.records import Record, find_records

__all__ = ["write_report"]

TEMPLATE = "page.html.jinja"
METRICS = (
    "accuracy",
    "mean_average_precision",
    "mean_auc",
    "d_prime",
    "f1_micro",
    "f1_macro",
)
OVERVIEW = ("accuracy", "mean_average_precision", "f1_macro")
SETTINGS = (
    "model",
    "init",
    "loss",
    "epochs",
    "batch_size",
    "learning_rate",
    "precision",
    "training_frames",
)
BEGINNING = b"<!doctype html>"
N_SLOWEST = 10
LARGEST_MATRIX = 60  # classes of a confusion matrix that can still be read


def write_report(runs: Sequence[Path], out: Path) -> None:
    """Write a page about runs.

    Args:
        runs: folders of runs, cross-validations or finetuned models; at least one.
        out: the HTML file; an earlier report is overwritten, nothing else.

    Raises:
        DataError: a folder holds no run, or a file in it is damaged.
        TrainingError: a run's record is damaged.
        ConfigError: no runs were given, or out cannot be written, is being written by another
            call, or is no report.
        MissingDependencyError: Jinja2 or matplotlib is not installed.

    Examples:
        >>> write_report([], Path("report.html"))
        Traceback (most recent call last):
        audiomamba.errors.ConfigError: no runs were given; expected at least one folder
    """
    if not runs:
        raise ConfigError("no runs were given; expected at least one folder")
    with sole_writer(out), writing(out):
        _refuse_other_files(out)
        records = [record for run in runs for record in find_records(run)]
        text = _render([_section(record) for record in records])
        write_text(out, text, errors="replace")


def _refuse_other_files(out: Path) -> None:
    """Refuse to replace a file that is no report, such as a run's own."""
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; expected the name of a file")
    if out.is_file() and out.stat().st_size:
        with out.open("rb") as file:
            if not file.read(len(BEGINNING)).lower() == BEGINNING:
                raise ConfigError(f"{out} is there and is no report; expected another name")


def _render(sections: Sequence[Mapping[str, Any]]) -> str:
    """The page as text, everything in it escaped."""
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise MissingDependencyError("jinja2", "report", "a report") from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"metric": _metric, "address": _address, "words": _words}
    source = files("audiomamba.report").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(sections=sections, overview=OVERVIEW)


def _section(record: Record) -> dict[str, Any]:
    """What the page says about one run."""
    recipe = record.recipe or {}
    evaluation = record.evaluation or {}
    found: Mapping[str, Any] = evaluation.get("metrics") or {}
    intervals = evaluation.get("intervals") or {}
    return {
        "folder": str(record.folder),
        "kind": recipe.get("name") or "probe: a linear head on a frozen encoder",
        "seconds": record.seconds,
        "n_epochs": len(record.epochs),
        "overview": [record.metric(name) for name in OVERVIEW],
        "settings": [(name, recipe[name]) for name in SETTINGS if recipe.get(name) is not None],
        "curves": draw_curves(record.epochs) if record.epochs else None,
        "averages": bool(record.epochs) and has_averages(record.epochs[-1]),
        "evaluated": record.evaluation is not None,
        "split": evaluation.get("split"),
        "n_clips": found.get("n_clips"),
        "metrics": [(name, found.get(name), intervals.get(name)) for name in METRICS],
        "classes": sorted(found.get("classes", ()), key=_by_precision),
        "left_out": found.get("left_out", ()),
        "confusion": _confusion(found),
        "most_wrong": evaluation.get("most_wrong", ()),
        "slowest": evaluation.get("slowest", ())[:N_SLOWEST],
        "failed": [*record.skipped, *evaluation.get("failed", ())],
    }


def _by_precision(one: Mapping[str, Any]) -> float:
    """Classes that need attention come first."""
    precision: float | None = one["average_precision"]
    return 2.0 if precision is None else precision


def _confusion(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """The confusion matrix, each cell with its share of the true class; None if there is none."""
    counts = found.get("confusion")
    if counts is None or len(counts) > LARGEST_MATRIX:
        return None
    labels = [one["label"] for one in found["classes"]]
    rows = [
        (label, [(n, n / max(1, sum(row)), index == number) for number, n in enumerate(row)])
        for index, (label, row) in enumerate(zip(labels, counts, strict=True))
    ]
    return {"labels": labels, "rows": rows}


def _metric(value: float | None) -> str:
    """A metric with three decimals."""
    if value is None:
        return "–"  # noqa: RUF001 (a dash in the page)
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _address(path: str) -> str:
    """What a link to a file says."""
    return Path(path).absolute().as_uri()


def _words(name: str) -> str:
    """A field's name as words."""
    return name.replace("_", " ")
