"""The folder of a run: what was trained on what, how it went, and where to go on."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiomamba.atomic import write_text
from audiomamba.errors import TrainingError

__all__ = ["LOG_NAME", "Run", "RunResult", "differences", "metric_of"]

LOG_NAME = "log.txt"  # what a run says that is one of several


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended.

    Args:
        folder: the run's folder.
        metrics: the last epoch's line of metrics.jsonl: "epoch", "loss" and, if clips were held
            out, "accuracy", "mean_average_precision", "mean_auc", "d_prime" and "log_loss" of the
            last weights, the same with "ema_" before them of the weights' moving average, with
            "swa_" of their mean over the last epochs.
        seconds: time spent on all epochs, those before an interruption included.
        resumed_epoch: epochs that an earlier call had completed.
        resumed_step: batches of the epoch after them that it had done.

    Examples:
        >>> done = RunResult(
        ...     folder=Path("run"), metrics={"epoch": 1.0, "loss": 0.5}, seconds=3, resumed_epoch=0
        ... )
        >>> done.metrics["loss"]
        0.5
    """

    folder: Path
    metrics: Mapping[str, float]
    seconds: float
    resumed_epoch: int
    resumed_step: int = 0


@dataclass(frozen=True)
class Run:
    """Where a run keeps its files.

    Args:
        folder: the run's folder.
    """

    folder: Path

    @property
    def record_path(self) -> Path:
        """The record: recipe, data, versions, result."""
        return self.folder / "run.json"

    @property
    def metrics_path(self) -> Path:
        """One line per epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def state_path(self) -> Path:
        """All that is needed to go on from where it was saved."""
        return self.folder / "state.ckpt"

    @property
    def model_path(self) -> Path:
        """The model of the epoch that was best on held-out clips; without these, the last one."""
        best = self.folder / "best"
        return best if best.is_dir() else self.folder / "last"

    def record(self) -> dict[str, Any] | None:
        """Read the record.

        Returns:
            The record; None if there is none.

        Raises:
            TrainingError: it cannot be read.
        """
        if not self.record_path.exists():
            return None
        try:
            record: dict[str, Any] = json.loads(self.record_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{self.record_path}: cannot be read: {error}") from error
        return record

    def epochs(self) -> list[dict[str, float]]:
        """Read the metrics of the epochs so far; a last line that was cut short is left out."""
        if not self.metrics_path.exists():
            return []
        text = self.metrics_path.read_text(encoding="utf-8")
        complete = text[: text.rfind("\n") + 1]
        return [json.loads(line) for line in complete.splitlines()]

    def keep_epochs(self, n_epochs: int) -> list[dict[str, float]]:
        """Forget metrics of epochs that were not completed.

        Args:
            n_epochs: epochs to keep.

        Returns:
            Their metrics.
        """
        kept = [line for line in self.epochs() if line["epoch"] <= n_epochs]
        write_text(self.metrics_path, "".join(json.dumps(line) + "\n" for line in kept))
        return kept

    def add_epoch(self, line: Mapping[str, float]) -> None:
        """Append the metrics of one epoch.

        Args:
            line: metrics by name.
        """
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")


def metric_of(metrics: Mapping[str, float], name: str) -> float | None:
    """Return a metric of the model that a run hands over.

    Args:
        metrics: a line of metrics.
        name: of the metric.

    Returns:
        The metric of the averaged weights if there are any, else of the weights; None if the clips
        were not evaluated.
    """
    names = (f"{prefix}{name}" for prefix in ("ema_", "swa_", ""))
    return next((metrics[name] for name in names if name in metrics), None)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say in which settings two records differ.

    Args:
        old: one, as dictionaries.
        new: the other.

    Returns:
        Texts such as "augment.mixup: 0.5, now 0.0".
    """
    before, now = dict(_flat(old)), dict(_flat(new))
    return [
        f"{name}: {before.get(name)}, now {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names with dots, and values, of nested dictionaries."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
