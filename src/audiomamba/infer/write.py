"""Tags as text: a table for reading, JSON lines and CSV for programs."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from audiomamba.infer.results import Tagged

__all__ = ["CsvWriter", "JsonWriter", "TableWriter", "Writer", "length_text"]

_WIDEST_LABEL, _BAR = 22, 9
_FILE_AND_LABEL = 50  # what the other columns leave of a line of 80


class Writer(Protocol):
    """Turns results into text, one recording at a time."""

    def header(self) -> str:
        """Return what stands before the first recording; may be empty."""

    def write(self, tagged: Tagged) -> str:
        """Return the lines of one recording, each ended by a newline."""


class TableWriter:
    """A table of at most 80 columns.

    Args:
        files: all recordings to come, for the width of the first column.
        labels: all labels that may appear, for the width of their column.
        thresholds: scores from which on labels are heard; those that are get a mark.
    """

    def __init__(
        self,
        files: Sequence[str],
        labels: Sequence[str],
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        self._thresholds = thresholds or {}
        self._label = min(_WIDEST_LABEL, max(map(len, [*labels, "(none)"])))
        self._file = min(_FILE_AND_LABEL - self._label, max(map(len, [*files, "recording"])))

    def header(self) -> str:
        """Return the column names and a rule."""
        names = self._line("recording", "length", "tag", "score")
        return f"{names}\n{'-' * (len(names) + 2 + _BAR)}\n"

    def write(self, tagged: Tagged) -> str:
        """Return one line per tag; the recording is named on the first."""
        file, length = _shorten(str(tagged.file), self._file), length_text(tagged.seconds)
        if not tagged.tags:
            return self._line(file, length, "(none)", "") + "\n"
        lines = []
        for tag in tagged.tags:
            bar = "#" * round(tag.score * _BAR)
            label = tag.label[: self._label]
            score = f"{tag.score:.2f}"
            if self._thresholds:
                score += "*" if tag.score >= self._thresholds[tag.label] else " "
            lines.append(f"{self._line(file, length, label, score)}  {bar}".rstrip())
            file = length = ""
        return "\n".join(lines) + "\n"

    def _line(self, file: str, length: str, label: str, score: str) -> str:
        return f"{file:<{self._file}}  {length:>8}  {label:<{self._label}}  {score:>5}"


class JsonWriter:
    """JSON lines: an object per recording with file, seconds, tags (label, score), any note.

    Args:
        thresholds: scores from which on labels are heard; tags then say whether they are (found).
    """

    def __init__(self, thresholds: Mapping[str, float] | None = None) -> None:
        self._thresholds = thresholds or {}

    def header(self) -> str:
        """Return nothing."""
        return ""

    def write(self, tagged: Tagged) -> str:
        """Return one line."""
        tags: list[dict[str, str | float | bool]] = []
        for tag in tagged.tags:
            tags.append({"label": tag.label, "score": round(tag.score, 4)})
            if self._thresholds:
                tags[-1]["heard"] = tag.score >= self._thresholds[tag.label]
        row: dict[str, object] = {
            "file": str(tagged.file),
            "seconds": round(tagged.seconds, 3),
            "tags": tags,
        }
        if tagged.note:
            row["note"] = tagged.note
        return json.dumps(row, ensure_ascii=False) + "\n"


class CsvWriter:
    """CSV: one row per recording and tag, with the columns file, seconds, label, score."""

    def header(self) -> str:
        """Return the column names."""
        return "file,seconds,label,score\n"

    def write(self, tagged: Tagged) -> str:
        """Return one row per tag."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        for tag in tagged.tags:
            rows.writerow([tagged.file, f"{tagged.seconds:.3f}", tag.label, f"{tag.score:.4f}"])
        return text.getvalue()


def length_text(seconds: float) -> str:
    """Write a length as 0.42 s, 12.3 s, 4:05 or 1:02:03."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _shorten(text: str, width: int) -> str:
    """Keep the end of a text that is too wide."""
    return text if len(text) <= width else "..." + text[3 - width :]
