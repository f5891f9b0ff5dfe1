"""Results of benchmarks: one line of JSON each, and tables of them to read."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from audiomamba.errors import DataError

__all__ = ["Result", "Times", "case_text", "quartiles", "read", "table", "to_json"]

MS_PER_S = 1000
FIELDS_IN_FILES = {"implementation": "side"}  # as they are called in files, old ones too


@dataclass(frozen=True)
class Times:
    """How long the calls of an implementation took, in order.

    Args:
        wall_s: by the clock.
        cpu_s: of all threads of the process together.
    """

    wall_s: list[float]
    cpu_s: list[float]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was found of one implementation of one case.

    Args:
        group: of the case.
        case: its settings.
        implementation: which one.
        base: the implementation that ratios are to.
        median_ms: of the calls, by the clock; None if there were none.
        quartiles_ms: the lower and the upper one; None of a single call.
        cpu_ms: median of the process's own time, of all threads together.
        n: how many calls were timed.
        ratio: of the median to the base's.
        peak_mib: memory that one call needs beyond inputs and weights.
        updates_per_s: of the recurrence, each with one exponential.
        share_of_exponentials: of that rate in what as many threads, or the GPU, can do at most.
        missing: why the implementation could not run here.
        error: what is wrong with what it computed.
        machine: device, processor, threads, versions and commit.
    """

    group: str
    case: Mapping[str, str | int]
    implementation: str
    base: str
    median_ms: float | None = None
    quartiles_ms: tuple[float, float] | None = None
    cpu_ms: float | None = None
    n: int = 0
    ratio: float | None = None
    peak_mib: float | None = None
    updates_per_s: float | None = None
    share_of_exponentials: float | None = None
    missing: str | None = None
    error: str | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)

    def changed(self, **changes: Any) -> "Result":
        """Copy the result with some fields changed.

        Args:
            changes: new values by field.

        Returns:
            The new result.
        """
        return replace(self, **changes)

    def with_times(self, times: Times, base: Times) -> "Result":
        """Copy the result with what its times come to.

        Args:
            times: of this implementation, at least one.
            base: of the base.

        Returns:
            The new result.
        """
        median_s = statistics.median(times.wall_s)
        spread = quartiles(times.wall_s)
        return self.changed(
            median_ms=MS_PER_S * median_s,
            quartiles_ms=None if spread is None else (MS_PER_S * spread[0], MS_PER_S * spread[1]),
            cpu_ms=MS_PER_S * statistics.median(times.cpu_s),
            n=len(times.wall_s),
            ratio=median_s / statistics.median(base.wall_s),
        )


def quartiles(values: Sequence[float]) -> tuple[float, float] | None:
    """Find the lower and the upper quartile.

    Args:
        values: in any order.

    Returns:
        The two; None of fewer than two values.
    """
    if len(values) < 2:
        return None
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, upper


def to_json(result: Result) -> str:
    """Write a result as one line.

    Args:
        result: what was found; the machine's properties stand beside the rest.

    Returns:
        JSON and a newline.
    """
    values = asdict(result)
    machine = values.pop("machine")
    named = {FIELDS_IN_FILES.get(name, name): value for name, value in values.items()}
    return json.dumps({**named, **machine}) + "\n"


def read(file: Path) -> list[Result]:
    """Read results that were written as lines of JSON.

    Args:
        file: one result per line.

    Returns:
        The results in order.

    Raises:
        DataError: the file cannot be read, or a line is no result.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    results = []
    for number, line in enumerate(lines, start=1):
        try:
            results.append(_from_json(line))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{file}, line {number} is no result of a benchmark; expected what "
                "`audiomamba bench --out` writes"
            ) from error
    return results


def _from_json(line: str) -> Result:
    """A result from its line.

    Raises:
        TypeError, ValueError: it is none.
    """
    values = json.loads(line)
    if not isinstance(values, dict):
        raise TypeError(line)
    names = {FIELDS_IN_FILES.get(one.name, one.name): one.name for one in fields(Result)}
    machine = {name: value for name, value in values.items() if name not in names}
    own = {names[name]: value for name, value in values.items() if name in names}
    return Result(**own, machine=machine)


def case_text(case: Mapping[str, str | int]) -> str:
    """Name a case in a line.

    Args:
        case: its settings.

    Returns:
        Such as "batch 1, tokens 513, float32".
    """
    return (
        ", ".join(
            str(value) if name in ("direction", "dtype", "model", "backend") else f"{name} {value}"
            for name, value in sorted(case.items(), key=lambda item: item[0] == "dtype")
        )
        .replace("side_length", "side")
        .replace("image_side", "side")
    )


def table(results: Iterable[Result]) -> list[tuple[str, ...]]:
    """Lay results out to read.

    Args:
        results: of one case.

    Returns:
        Rows of cells: a heading, then one row per implementation.
    """
    rows: list[tuple[str, ...]] = [
        ("implementation", "median ms", "quartiles", "n", "ratio", "peak MiB", "")
    ]
    for one in results:
        if one.median_ms is None:
            rows.append((one.implementation, "-", "", "", "", "", one.missing or one.error or ""))
            continue
        spread = one.quartiles_ms
        note = ""
        if one.updates_per_s is not None:
            note = f"{one.updates_per_s / 1e9:.2f} G updates/s"
        if one.share_of_exponentials is not None:
            note += f", {one.share_of_exponentials:.0%} of all exponentials"
        rows.append(
            (
                one.implementation,
                f"{one.median_ms:.2f}",
                "" if spread is None else f"{spread[0]:.2f} to {spread[1]:.2f}",
                str(one.n),
                "" if one.ratio is None else f"{one.ratio:.2f}",
                "" if one.peak_mib is None else f"{one.peak_mib:.1f}",
                note,
            )
        )
    return rows
