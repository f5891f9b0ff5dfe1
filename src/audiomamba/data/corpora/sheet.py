"""A data set of one's own as a table: a row per clip, or a row per label of a clip."""

import ast
import json
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from audiomamba.data.corpora.columns import find_columns
from audiomamba.data.corpora.table import Row, describe_columns, read_table
from audiomamba.data.manifest import Clip, Manifest
from audiomamba.data.split_names import IGNORED, known_split
from audiomamba.errors import DataError

__all__ = ["read_sheet"]

SEPARATORS = (";", "|")
SPLITS = "train, valid, test, ignore or the number of a fold"
OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def read_sheet(path: Path) -> Manifest:
    r"""List the clips of a CSV table.

    Columns: filename (relative to the table's folder); label, or labels with ";" between them;
    optional are split or fold, group (a speaker, a source: what must not be in two splits), start_s
    and end_s. Other usual names of these are understood. Rows about one clip are joined.

    Args:
        path: the table.

    Returns:
        The clips; classes in alphabetical order.

    Raises:
        DataError: a column is missing, or a cell is not what it should be.

    Examples:
        >>> _ = Path("clips.csv").write_text("file;class\n1.wav;dog\n1.wav;rain\n")
        >>> manifest = read_sheet(Path("clips.csv"))
        >>> [clip.labels for clip in manifest.clips]
        [('dog', 'rain')]
    """
    rows = read_table(path, [])
    sheet = _Sheet(path, find_columns(path, list(rows[0]) if rows else ()), rows)
    listed = [(row, sheet.clip(row)) for row in rows]
    kept = [(row, clip) for row, clip in listed if clip.split != IGNORED]
    clips, notes = _join(path, kept)
    if len(kept) < len(listed):
        notes += (f"{len(listed) - len(kept)} rows are marked {IGNORED!r} and left out",)
    labels = sorted({label for clip in clips for label in clip.labels})
    return Manifest(labels=labels, clips=clips, notes=notes)


@dataclass(frozen=True)
class _Sheet:
    """A table, and which of its columns is what."""

    path: Path
    columns: dict[str, str]
    rows: Sequence[Row]

    def __post_init__(self) -> None:
        its = describe_columns(self.rows[0] if self.rows else ())
        if "filename" not in self.columns:
            raise DataError(f"{self.path}: no column filename; {its}; the first line names them")
        if "label" not in self.columns and "labels" not in self.columns:
            raise DataError(f"{self.path}: no column label or labels; {its}")
        self._refuse_hidden_split()

    def clip(self, row: Row) -> Clip:
        """The clip that a row is about."""
        start_s, end_s = self._seconds(row, "start_s"), self._seconds(row, "end_s")
        return Clip(
            path=self._recording(row),
            labels=self._labels(row),
            split=self._split(row),
            start_s=max(0.0, start_s or 0.0),
            end_s=end_s,
            group=self._cell(row, "group") or None,
        )

    def refuse(self, row: Row, reason: str) -> DataError:
        """What is wrong with a row."""
        return DataError(f"{self.path}: line {row.line}: {reason}")

    def _cell(self, row: Row, column: str) -> str:
        """A cell; one that goes on over lines would hide rows behind a quote."""
        cell = row[self.columns[column]] if column in self.columns else ""
        if "\n" in cell or "\r" in cell:
            raise self.refuse(row, f"the cell {column} ends on another line; is a quote missing?")
        return cell

    def _recording(self, row: Row) -> Path:
        """Where a row's recording is; folders may be divided as Windows does it."""
        name = self._cell(row, "filename")
        if not name:
            raise self.refuse(row, "no filename")
        folder = self.path.parent
        if "\\" in name and os.name != "nt" and not (folder / name).is_file():
            if OF_WINDOWS.match(name):
                raise self.refuse(
                    row, f"{name} is a path of Windows; expected one that begins in {folder}"
                )
            name = name.replace("\\", "/")
        return Path(os.path.normpath(folder / name))

    def _labels(self, row: Row) -> tuple[str, ...]:
        """A row's labels; none where the cell of a column labels is empty."""
        if "labels" in self.columns:
            return tuple(dict.fromkeys(filter(None, map(str.strip, self._parts(row)))))
        label = self._cell(row, "label")
        if not label:
            raise self.refuse(row, "a clip has an empty label")
        if ";" in label:
            raise self.refuse(
                row, f"the label {label!r}; name the column labels if ; stands between labels"
            )
        return (label,)

    def _parts(self, row: Row) -> Sequence[str]:
        """The labels in a cell of the column labels."""
        cell = self._cell(row, "labels")
        if cell.startswith("[") and cell.endswith("]"):
            return _as_list(cell) or [cell]
        if self._separator is None and "," in cell:
            raise self.refuse(
                row,
                f"the labels {cell!r}; expected ; between labels, or a column label if this is one",
            )
        return cell.split(self._separator) if self._separator else [cell]

    @cached_property
    def _separator(self) -> str | None:
        """What stands between labels; None if there is no cell with several."""
        cells = [self._cell(row, "labels") for row in self.rows]
        return next((it for it in SEPARATORS if any(it in cell for cell in cells)), None)

    @cached_property
    def _is_divided(self) -> bool:
        return any(self._cell(row, "split") or self._cell(row, "fold") for row in self.rows)

    def _split(self, row: Row) -> str | None:
        """The split that a row is in."""
        given = self._cell(row, "split") or self._cell(row, "fold")
        if not given:
            if self._is_divided:
                raise self.refuse(row, f"no split, while other rows have one; expected {SPLITS}")
            return None
        split = known_split(given)
        if split is None:
            raise self.refuse(row, f"unknown split {given!r}; expected {SPLITS}")
        return split

    def _seconds(self, row: Row, column: str) -> float | None:
        """The number in a cell, None where it is empty."""
        cell = self._cell(row, column)
        if not cell:
            return None
        try:
            seconds = float(cell)
        except ValueError:
            seconds = math.nan
        if not math.isfinite(seconds):
            raise self.refuse(row, f"{cell!r} is not a number of seconds; expected one such as 1.5")
        return seconds

    def _refuse_hidden_split(self) -> None:
        """Refuse a column that says split by split where a clip belongs, under another name."""
        if "split" in self.columns or "fold" in self.columns or not self.rows:
            return
        for name in self.rows[0].keys() - set(self.columns.values()):
            said = {known_split(row[name]) for row in self.rows}
            if "train" in said and len(said) > 1 and None not in said:
                raise DataError(
                    f"{self.path}: the column {name} seems to divide the clips; name it split, or "
                    "leave it out"
                )


def _as_list(cell: str) -> list[str] | None:
    """Labels as programs write lists; None for other text."""
    readers: tuple[Callable[[str], object], ...] = (json.loads, ast.literal_eval)
    for read in readers:
        try:
            found = read(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list) and all(isinstance(it, str) for it in found):
            return found
    return None


def _join(
    path: Path, listed: Sequence[tuple[Row, Clip]]
) -> tuple[tuple[Clip, ...], tuple[str, ...]]:
    """Make one clip of rows that are about one, and say so."""
    first: dict[object, tuple[Row, Clip]] = {}
    joined: list[Row] = []
    repeated: list[Row] = []
    for row, clip in listed:
        mark = clip.path, clip.start_s, clip.end_s
        earlier, whole = first.setdefault(mark, (row, clip))
        if earlier is row:
            continue
        if (clip.split, clip.group) != (whole.split, whole.group):
            what = "split" if clip.split != whole.split else "group"
            raise DataError(
                f"{path}: lines {earlier.line} and {row.line} are about one clip, but each has "
                f"another {what}"
            )
        labels = tuple(dict.fromkeys((*whole.labels, *clip.labels)))
        (repeated if labels == whole.labels else joined).append(row)
        first[mark] = earlier, replace(whole, labels=labels)
    notes = [
        f"{_rows(found)} of an earlier row (line {found[0].line}): {outcome}"
        for found, outcome in (
            (joined, "labels are joined"),
            (repeated, "each clip counts once"),
        )
        if found
    ]
    return tuple(clip for _, clip in first.values()), tuple(notes)


def _rows(found: Sequence[Row]) -> str:
    return f"{len(found)} row{' is' if len(found) == 1 else 's are'} about a clip"
