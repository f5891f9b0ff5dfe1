"""What runs have written down, read back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiomamba.errors import DataError
from audiomamba.train.evaluation import EVALUATION_NAME, FINETUNE_NAME
from audiomamba.train.run import Run, metric_of

__all__ = ["Record", "find_records"]

CROSS_VALIDATION_NAME = "cross_validation.json"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run.

    Args:
        folder: where it is.
        recipe: its settings; None for a probe.
        epochs: its metrics, one line per epoch; none for a probe.
        seconds: time spent on all epochs; None for a probe, or while it goes on.
        evaluation: what was found on its held-out clips, as Evaluation.to_dict; None if nobody has
            looked.
        skipped: clips that finetune could not use, one line each.
    """

    folder: Path
    recipe: Mapping[str, Any] | None
    epochs: Sequence[Mapping[str, float]]
    seconds: float | None
    evaluation: Mapping[str, Any] | None
    skipped: Sequence[str]

    def metric(self, name: str) -> float | None:
        """Return a metric of the held-out clips: of the evaluation, else of the last epoch's.

        Args:
            name: of the metric.

        Returns:
            The metric; None if it is not known.
        """
        if self.evaluation is not None:
            found: float | None = self.evaluation["metrics"].get(name)
            return found
        evaluated = (metric_of(line, name) for line in reversed(self.epochs))
        return next((value for value in evaluated if value is not None), None)


def find_records(folder: Path) -> list[Record]:
    """Read what is in a folder.

    Args:
        folder: a run of train or finetune, or a cross-validation.

    Returns:
        The run, or the runs of all folds.

    Raises:
        DataError: there is no run in it, or a file is damaged.
        TrainingError: a run's record is damaged.
    """
    if (folder / CROSS_VALIDATION_NAME).is_file():
        folds = _read(folder / CROSS_VALIDATION_NAME)["folds"]
        return [_record(folder / f"fold-{fold['fold']}") for fold in folds]
    return [_record(folder)]


def _record(folder: Path) -> Record:
    """One run."""
    run = Run(folder)
    record = run.record()
    tuned = _read_if_there(folder / FINETUNE_NAME)
    if record is None and tuned is None:
        raise DataError(
            f"{folder}: no run in it; expected a folder that train, train --cv or finetune wrote"
        )
    return Record(
        folder=folder,
        recipe=None if record is None else record["recipe"],
        epochs=run.epochs(),
        seconds=None if record is None else record.get("seconds"),
        evaluation=_read_if_there(folder / EVALUATION_NAME),
        skipped=[] if tuned is None else tuned["skipped"],
    )


def _read_if_there(path: Path) -> dict[str, Any] | None:
    return _read(path) if path.is_file() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return values
