"""`audiomamba bench throughput`: runs the sides, and writes tables and lines of JSON."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import IO, Any

import soundfile
import torch

from audiomamba import audio
from audiomamba.bench import machine
from audiomamba.bench.throughput.sides import Side, macs_of, sides
from audiomamba.bench.throughput.turns import Found, chosen, take_turns
from audiomamba.errors import ConfigError
from audiomamba.terminal import format_table

__all__ = ["measure"]

N_FILES, N_ROUNDS = 240, 5
LEFT_OUT = "left out: YAMNet by ai-edge-litert, whose weights come with no package\n"
Echo = Callable[[str], None]


def measure(
    folders: Sequence[Path],
    *,
    model: str,
    n_workers: int,
    n_threads: int | None,
    quick: bool,
    lines: IO[str] | None,
    echo: Echo,
) -> None:
    """Measure how fast recordings become rows of a table.

    Args:
        folders: recordings and folders of them.
        model: the name or folder of a trained model.
        n_workers: processes that share the files, each with one processor.
        n_threads: of a process that has the machine to itself; None for PyTorch's own choice.
        quick: few files, in one round.
        lines: where every result goes as a line of JSON; None for nowhere.
        echo: what shows the tables.

    Raises:
        ConfigError: no folder was given.
        AudioError: there are no recordings in it.
    """
    if not folders:
        raise ConfigError("bench throughput was given no folder; expected one with recordings")
    n_files, n_rounds = (8, 1) if quick else (N_FILES, N_ROUNDS)
    files = audio.find(folders)
    n_threads = n_threads or torch.get_num_threads()
    described: dict[str, Any] = {**machine.describe("cpu"), "threads": n_threads}
    echo(_heading(described, files, n_files))
    only_parts = Side(
        name="parts", kind="parts", model=model, n_files=n_files, n_threads=1, pinned=True
    )
    for group in ((only_parts,), *sides(model, n_workers, n_files)):
        found = take_turns(group, files, n_threads=n_threads, n_rounds=n_rounds)
        sound_s = sum(map(_seconds, chosen(files, group[0].n_files)))
        rows = [_row(one, found[0], sound_s) for one in found]
        echo("\n" + (_parts_table(found[0]) if group[0] is only_parts else _table(rows)))
        if lines is not None:
            lines.writelines(json.dumps({**row, **described}) + "\n" for row in rows)
            lines.flush()
    echo("\n" + LEFT_OUT)


def _heading(described: dict[str, Any], files: Sequence[Path], n_files: int) -> str:
    """The machine, its load, and the files, in two lines."""
    kinds = sorted({file.suffix.lower() for file in files})
    load = f"load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    return (
        f"{described['processor']}, {os.cpu_count()} processors, {load}, threads "
        f"{described['threads']}, commit {described['commit']}\n"
        f"{min(n_files, len(files))} of {len(files)} files: {', '.join(kinds)}\n"
    )


def _seconds(file: Path) -> float:
    """Length of a recording; 0 of what soundfile cannot open."""
    try:
        found: float = soundfile.info(file).duration
    except soundfile.LibsndfileError:
        return 0.0
    return found


def _row(found: Found, base: Found, sound_s: float) -> dict[str, Any]:
    """What is known of a side, ready for JSON."""
    row: dict[str, Any] = {
        "group": "throughput",
        "side": found.side.name,
        "base": base.side.name,
        **{key: value for key, value in asdict(found.side).items() if key != "name"},
        "n_files": found.n_files,
        "n_threads": found.n_threads,
        "missing": found.missing,
    }
    if found.missing:
        return row
    wall_s = median(found.wall_s)
    return row | {
        "macs_per_window": macs_of(found.side),
        "sound_s": sound_s,
        "wall_s": found.wall_s,
        "cpu_s": found.cpu_s,
        "files_per_s": found.n_files / wall_s,
        "sound_s_per_s": sound_s / wall_s,
        "cpu_ms_per_file": 1000 * median(found.cpu_s) / found.n_files,
        "speed_to_base": _ratio(base.wall_s, found.wall_s),
        "cpu_to_base": _ratio(found.cpu_s, base.cpu_s),
        "share_of_processes": _ratio(base.wall_s, found.wall_s) / found.side.n_processes,
        "parts_ms": found.parts_ms,
    }


def _ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median of the ratios of rounds; 0 where there are none."""
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    return median(ratios) if ratios else 0.0


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Sides beside the first one."""
    cells: list[tuple[str, ...]] = [
        ("side", "MACs", "threads", "files/s", "sound s/s", "cpu ms/file", "speed", "per process")
    ]
    for row in rows:
        if row["missing"]:
            cells.append((row["side"], "-", "", "", "", "", "", row["missing"]))
            continue
        cells.append(
            (
                row["side"],
                f"{row['macs_per_window'] / 1e9:.2f} G",
                f"{row['n_processes']} x {row['n_threads']}",
                f"{row['files_per_s']:.1f}",
                f"{row['sound_s_per_s']:.0f}",
                f"{row['cpu_ms_per_file']:.1f}",
                f"{row['speed_to_base']:.2f}",
                f"{row['share_of_processes']:.2f}",
            )
        )
    return format_table(cells, "<>>>>>>>")


def _parts_table(found: Found) -> str:
    """Processor time of each part, of one thread."""
    if found.missing:
        return f"{found.missing}\n"
    total = sum(found.parts_ms.values())
    cells: list[tuple[str, ...]] = [("part", "cpu ms/file", "share")]
    cells += [(part, f"{ms:.2f}", f"{ms / total:.0%}") for part, ms in found.parts_ms.items()]
    return format_table([*cells, ("all", f"{total:.2f}", "")], "<>>")
