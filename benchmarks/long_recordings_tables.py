"""Fill the tables of docs/long-recordings.md from the results of the benchmarks.

python benchmarks/long_recordings_tables.py
"""

import json
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "long-recordings.md"
FIGURES = ("event F1", "segment F1", "PSDS1", "PSDS2")


def table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def soundscapes() -> str:
    modes = json.loads((RESULTS / "soundscapes.json").read_text("utf-8"))["modes"]
    rows = [["", *FIGURES, "times as fast as the sound, one thread"]]
    for mode, found in modes.items():
        figures = [f"{found['tuned on the other folds'][name]:.3f}" for name in FIGURES]
        rows.append([mode, *figures, f"{found['seconds of sound per second']:.0f}"])
    return table(rows)


def durations() -> str:
    results = json.loads((RESULTS / "duration_curve.json").read_text("utf-8"))["results"]
    lengths = sorted({length for found in results.values() for length in found}, key=int)
    rows = [["seconds", *lengths]]
    for name, found in results.items():
        shares = [found[length]["accuracy"] if length in found else None for length in lengths]
        rows.append([name, *("" if share is None else f"{share:.2f}" for share in shares)])
    return table(rows)


def costs() -> str:
    lines = (RESULTS / "long_recordings.jsonl").read_text("utf-8").splitlines()
    rows = [["recording", "time", "times as fast as the sound", "peak memory"]]
    for found in map(json.loads, lines):
        minutes = round(found["seconds"] / 60)
        length = f"{minutes} min" if minutes < 60 else f"{minutes // 60} h"
        faster = found["seconds"] / found["wall_s"]
        memory = f"{found['peak_mib']:.0f} MiB"
        rows.append([length, f"{found['wall_s']:.1f} s", f"{faster:.0f}", memory])
    return table(rows)


def native() -> str:
    lines = (RESULTS / "native.jsonl").read_text("utf-8").splitlines()
    sides = {"windows": "windows", "stretches": "one pass", "whole": "one pass, all at once"}
    found: dict[tuple[str, int], dict[str, str]] = {}
    for one in map(json.loads, lines):
        cell = f"{one['wall_s']:.1f} s, {one['peak_mib']:.0f} MiB"
        found.setdefault((one["model"], one["seconds"]), {})[one["side"]] = cell
    rows = [["model, length", *sides.values()]]
    for (model, seconds), cells in found.items():
        length = f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"
        rows.append([f"{model}, {length}", *(cells[side] for side in sides)])
    return table(rows)


def main() -> None:
    text = PAGE.read_text("utf-8")
    tables = {
        "costs": costs(),
        "soundscapes": soundscapes(),
        "native": native(),
        "durations": durations(),
    }
    for name, made in tables.items():
        mark, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, after = text.partition(mark)
        _, _, behind = after.rpartition(end) if end in after else ("", "", after)
        text = f"{before}{mark}\n\n{made}\n\n{end}{behind}"
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
