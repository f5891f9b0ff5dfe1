"""Pictures and tables of results: one picture per group, and runs beside each other.

Where a group's cases differ in length, times are drawn over it, one panel for each set of the other
settings; else each case is a set of bars. Several files are told apart by the style of the line.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from audiomamba.bench.record import Result, case_text
from audiomamba.errors import ConfigError, DataError, MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["compare", "draw"]

_STYLES = ("-", "--", ":", "-.")
_COLORS = (
    "#c8553d",
    "#22303c",
    "#588b8b",
    "#e0a458",
    "#8d99ae",
    "#7b4b94",
    "#3d70b2",
    "#a3b18a",
)
_MOST_BESIDE = 3
_LENGTHS = ("tokens", "side_length", "image_side")
_CURVES_NEED = 2
_ALWAYS_BARS = ("parts",)  # implementations that add up to one another


@dataclass(frozen=True)
class _Panel:
    """What is drawn into one coordinate system: results with the same settings but for length."""

    title: str
    length: str | None
    results: list[tuple[int, Result]]  # with the number of the file


def compare(runs: Sequence[Sequence[Result]]) -> list[tuple[str, ...]]:
    """Lay the medians of several runs beside each other.

    Args:
        runs: the results of each.

    Returns:
        Rows of cells: a heading, then one row per implementation and case that the first run has:
        its median, and for the others median and ratio to the first.
    """
    heading = ["group", "case", "implementation", "1: ms"]
    for number in range(2, len(runs) + 1):
        heading += [f"{number}: ms", f"{number}/1"]
    rows: list[tuple[str, ...]] = [tuple(heading)]
    others = [{_identity(one): one for one in results} for results in runs[1:]]
    for first in runs[0]:
        if first.median_ms is None:
            continue
        row = [first.group, case_text(first.case), first.implementation, f"{first.median_ms:.2f}"]
        for found in others:
            other = found.get(_identity(first))
            median = None if other is None else other.median_ms
            row.append("-" if median is None else f"{median:.2f}")
            row.append("-" if median is None else f"{median / first.median_ms:.2f}")
        rows.append(tuple(row))
    return rows


def draw(runs: Sequence[Sequence[Result]], folder: Path) -> list[Path]:
    """Draw a picture of times per group, and one of memory where that was measured.

    Args:
        runs: the results of each file.
        folder: where the pictures go; made if it is missing.

    Returns:
        The pictures, GROUP.svg and GROUP-memory.svg.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        ConfigError: the folder cannot be made.
        DataError: there is nothing to draw.
    """
    if find_spec("matplotlib") is None:
        raise MissingDependencyError("matplotlib", "plot", "drawing benchmarks")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}") from error
    timed = [
        (number, one)
        for number, results in enumerate(runs)
        for one in results
        if one.median_ms is not None
    ]
    if not timed:
        raise DataError("the results hold no times; expected what `audiomamba bench --out` writes")
    files = []
    for group in dict.fromkeys(one.group for _, one in timed):
        chosen = [(number, one) for number, one in timed if one.group == group]
        files.append(_picture(group, chosen, "median_ms", folder / f"{group}.svg"))
        with_memory = [(number, one) for number, one in chosen if one.peak_mib is not None]
        if with_memory:
            file = folder / f"{group}-memory.svg"
            files.append(_picture(group, with_memory, "peak_mib", file))
    return files


def _identity(one: Result) -> tuple[object, ...]:
    return (one.group, tuple(sorted(one.case.items())), one.implementation)


def _panels(results: Iterable[tuple[int, Result]]) -> list[_Panel]:
    """Results sorted into coordinate systems."""
    chosen = list(results)
    group, case = chosen[0][1].group, chosen[0][1].case
    lengths = [name for name in _LENGTHS if name in case and group not in _ALWAYS_BARS]
    length = next(iter(lengths), None)
    found: dict[str, list[tuple[int, Result]]] = {}
    for number, one in chosen:
        rest = {name: value for name, value in one.case.items() if name not in lengths}
        if length == "side_length":  # smaller maps have more channels
            rest.pop("channels", None)
        if "model" not in rest and one.group in ("models", "training"):
            rest["model"] = one.base.rpartition("_")[2]
        found.setdefault(case_text(rest), []).append((number, one))
    return [_panel(title, length, members) for title, members in found.items()]


def _panel(title: str, length: str | None, members: list[tuple[int, Result]]) -> _Panel:
    n_lengths = len({one.case.get(length or "") for _, one in members})
    if length is not None and n_lengths < _CURVES_NEED:
        return _Panel(f"{title}, {length} {members[0][1].case[length]}", None, members)
    return _Panel(title, length, members)


def _picture(group: str, results: list[tuple[int, Result]], value: str, file: Path) -> Path:
    from matplotlib.figure import Figure

    panels = _panels(results)
    n_beside = min(len(panels), _MOST_BESIDE)
    n_below = math.ceil(len(panels) / n_beside)
    figure = Figure(figsize=(4.6 * n_beside, 3.6 * n_below), layout="constrained")
    axes_of_panels = list(figure.subplots(n_below, n_beside, squeeze=False).flat)
    implementations = list(dict.fromkeys(one.implementation for _, one in results))
    colors = {
        implementation: _COLORS[index % len(_COLORS)]
        for index, implementation in enumerate(implementations)
    }
    for axes, panel in zip(axes_of_panels, panels, strict=False):
        if panel.length is None:
            _draw_bars(axes, panel, value, colors)
        else:
            _draw_curves(axes, panel, value, colors)
        axes.set_title(panel.title, fontsize=8)
        axes.tick_params(labelsize=7, which="both")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in axes_of_panels[len(panels) :]:
        axes.set_axis_off()
    what = "time" if value == "median_ms" else "peak memory"
    figure.suptitle(f"{group}: {what} ({_machines(results)})", fontsize=9)
    figure.savefig(file, metadata={"Date": None})
    return file


def _draw_curves(axes: "Axes", panel: _Panel, value: str, colors: Mapping[str, str]) -> None:
    """Values over length, both by powers of two or ten; the quartiles of times as a band."""
    curves: dict[tuple[int, str], list[Result]] = {}
    named: set[str] = set()
    for number, one in panel.results:
        curves.setdefault((number, one.implementation), []).append(one)
    for (number, implementation), members in curves.items():
        members.sort(key=lambda one: one.case[panel.length or ""])
        lengths = [int(one.case[panel.length or ""]) for one in members]
        values = [getattr(one, value) for one in members]
        style = _STYLES[number % len(_STYLES)]
        label = None if implementation in named else implementation
        named.add(implementation)
        axes.plot(
            lengths,
            values,
            style,
            color=colors[implementation],
            label=label,
            marker="o",
            markersize=3,
        )
        if value == "median_ms":
            spreads = [one.quartiles_ms or (one.median_ms, one.median_ms) for one in members]
            lower, upper = zip(*spreads, strict=True)
            axes.fill_between(
                lengths, lower, upper, color=colors[implementation], alpha=0.2, linewidth=0
            )
    ticks = sorted({int(one.case[panel.length or ""]) for _, one in panel.results})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_yscale("log" if value == "median_ms" else "linear")
    axes.set_xlabel((panel.length or "").replace("_", " "), fontsize=8)
    axes.set_ylabel(_unit(value), fontsize=8)
    axes.grid(alpha=0.2)
    axes.legend(fontsize=7, frameon=False)


def _draw_bars(axes: "Axes", panel: _Panel, value: str, colors: Mapping[str, str]) -> None:
    """A bar per implementation, with its value, and its ratio to the base where it is a time."""
    names = []
    for index, (number, one) in enumerate(panel.results):
        found = getattr(one, value)
        text = f" {found:.3g}"
        if value == "median_ms" and one.ratio is not None:
            text += f" ({one.ratio:.3g})"
        axes.barh(index, found, color=colors[one.implementation], height=0.6)
        axes.text(found, index, text, va="center", fontsize=7)
        names.append(one.implementation if number == 0 else f"{one.implementation} [{number + 1}]")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set_xlabel(_unit(value), fontsize=8)


def _unit(value: str) -> str:
    return "ms" if value == "median_ms" else "MiB beyond weights and inputs"


def _machines(results: Iterable[tuple[int, Result]]) -> str:
    """What the results were measured on."""
    found = []
    for _, one in results:
        machine = one.machine
        device = machine.get("device")
        processor = machine.get("processor") if device in (None, "cpu") else device
        found.append(f"{processor}, {machine.get('threads')} threads")
    return "; ".join(dict.fromkeys(found))
