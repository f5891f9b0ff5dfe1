"""The folder of a run: what was trained on what, how it went, and where to go on."""

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from audiomamba.errors import TrainingError

__all__ = [
    "SAVE_EVERY_S",
    "Run",
    "RunResult",
    "command_line",
    "figure_of",
    "replace_folder",
    "versions",
    "write_json",
]

SAVE_EVERY_S = 300.0  # between two states within an epoch
PACKAGES = ("lightning", "numpy", "safetensors", "scikit-learn", "soxr", "torch")


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
        whole = text[: text.rfind("\n") + 1]
        return [json.loads(line) for line in whole.splitlines()]

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


def figure_of(metrics: Mapping[str, float], name: str) -> float | None:
    """Return a figure of the model that a run hands over.

    Args:
        metrics: a line of metrics.
        name: of the figure.

    Returns:
        The figure of the averaged weights if there are any, else of the weights; None if the clips
        were not evaluated.
    """
    names = (f"{prefix}{name}" for prefix in ("ema_", "swa_", ""))
    return next((metrics[name] for name in names if name in metrics), None)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file that is either complete or not there.

    Args:
        path: the file.
        values: what to write.
    """
    write_text(path, json.dumps(values, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file that is either complete or as it was.

    Args:
        path: the file.
        text: what to write.
    """
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def replace_folder(new: Path, folder: Path) -> None:
    """Put a complete folder in the place of another.

    Args:
        new: the new folder, on the same disk.
        folder: where it goes; what is there is deleted.
    """
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


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


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("audiomamba", *PACKAGES):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Return the git commit that the package runs from, with "+" after it if files were changed.

    Returns:
        None if the package is not in a git checkout of its own, or git is not installed.
    """
    package = Path(__file__).resolve().parents[1]
    tracked = _git(package, "ls-files", "--error-unmatch", "errors.py")
    head = _git(package, "rev-parse", "HEAD")
    if not tracked or not head:
        return None
    return head + ("+" if _git(package, "status", "--porcelain", "--", ".") else "")


def command_line() -> str:
    """Return how the program was called, without where it is installed.

    Returns:
        Program and arguments, quoted as a shell wants them.
    """
    program = Path(sys.argv[0])
    called = ["python", "-m", program.parent.name] if program.stem == "__main__" else [program.name]
    return shlex.join([*called, *sys.argv[1:]])


def n_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command; None if it failed."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names with dots, and values, of nested dictionaries."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
