"""Events as text: a table for reading; CSV, JSON lines, Audacity labels and RTTM for programs."""

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from audiomamba.errors import ConfigError
from audiomamba.infer.results import RecordingEvents

__all__ = ["EventWriter", "Format", "format_of"]

Format = Literal["table", "csv", "json", "audacity", "rttm"]

FORMATS: dict[str, Format] = {
    "table": "table",
    "csv": "csv",
    "json": "json",
    "audacity": "audacity",
    "rttm": "rttm",
}
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".txt": "audacity",
    ".rttm": "rttm",
}
_WIDEST_LABEL, _WIDEST_FILE, _TIME = 22, 26, 9


def format_of(out: Path | None, asked: str | None) -> Format:
    """Decide how events are written.

    Args:
        out: where they go; its suffix (.csv, .json, .jsonl, .txt for Audacity, .rttm) says how;
            None for a table.
        asked: a format that was asked for by name; None to go by the suffix.

    Returns:
        The format.

    Raises:
        ConfigError: there is no such format, or the suffix says none.
    """
    if asked is not None:
        if asked not in FORMATS:
            raise ConfigError(f"format {asked!r} is not known; expected {', '.join(FORMATS)}")
        return FORMATS[asked]
    if out is None:
        return "table"
    if out.suffix.lower() not in _SUFFIXES:
        raise ConfigError(
            f"{out}: its name does not say how events are to be written; expected one that ends in "
            f"{', '.join(_SUFFIXES)}, or --format"
        )
    return _SUFFIXES[out.suffix.lower()]


class EventWriter:
    """Turns the events of recordings into text, one recording at a time.

    Args:
        kind: the format.
        files: all recordings to come.
        labels: all labels that may appear.

    Raises:
        ConfigError: the format holds one recording only, and there are several.
    """

    def __init__(self, kind: Format, files: Sequence[Path], labels: Sequence[str]) -> None:
        if kind == "audacity" and len(files) > 1:
            raise ConfigError(
                f"labels for Audacity are of one recording, and {len(files)} were given; "
                "call once for each"
            )
        self._kind = kind
        self._label = min(_WIDEST_LABEL, max(map(len, [*labels, "(none)"])))
        self._file = min(_WIDEST_FILE, max(map(len, [*map(str, files), "recording"])))
        self._by_stem = len({file.stem for file in files}) == len(set(files))

    def header(self) -> str:
        """Return what stands before the first recording; may be empty."""
        if self._kind == "csv":
            return "file,start_s,end_s,label,score\n"
        if self._kind == "table":
            names = self._line("recording", "from", "to", "event", "score")
            return f"{names}\n{'-' * len(names)}\n"
        return ""

    def write(self, found: RecordingEvents) -> str:
        """Return the lines of one recording, each ended by a newline."""
        match self._kind:
            case "table":
                return self._table(found)
            case "csv":
                return _csv(found)
            case "json":
                return _json(found)
            case "audacity":
                return _audacity(found)
            case "rttm":
                return self._rttm(found)

    def _table(self, found: RecordingEvents) -> str:
        """A table of at most 80 columns."""
        file, lines = _shorten(str(found.file), self._file), []
        for event in found.events:
            times = _clock(event.start_s), _clock(event.end_s)
            label = event.label[: self._label]
            lines.append(self._line(file, *times, label, f"{event.score:.2f}"))
            file = ""
        return "\n".join(lines or [self._line(file, "", "", "(none)", "").rstrip()]) + "\n"

    def _line(self, file: str, *cells: str) -> str:
        start, end, label, score = cells
        times = f"{start:>{_TIME}}  {end:>{_TIME}}"
        return f"{file:<{self._file}}  {times}  {label:<{self._label}}  {score:>5}"

    def _rttm(self, found: RecordingEvents) -> str:
        """A SPEAKER line per event, whose name is the label and whose confidence the score."""
        file = _word(found.file.stem if self._by_stem else str(found.file))
        return "".join(
            f"SPEAKER {file} 1 {event.start_s:.3f} {event.end_s - event.start_s:.3f} <NA> <NA> "
            f"{_word(event.label)} {event.score:.4f} <NA>\n"
            for event in found.events
        )


def _csv(found: RecordingEvents) -> str:
    """A row per event."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for event in found.events:
        times = f"{event.start_s:.3f}", f"{event.end_s:.3f}"
        rows.writerow([found.file, *times, event.label, f"{event.score:.4f}"])
    return text.getvalue()


def _json(found: RecordingEvents) -> str:
    """A line with an object: file, seconds, step_s and events."""
    events = [
        {
            "label": event.label,
            "start_s": round(event.start_s, 3),
            "end_s": round(event.end_s, 3),
            "score": round(event.score, 4),
        }
        for event in found.events
    ]
    row = {
        "file": str(found.file),
        "seconds": round(found.seconds, 3),
        "step_s": found.step_s,
        "events": events,
    }
    return json.dumps(row, ensure_ascii=False) + "\n"


def _audacity(found: RecordingEvents) -> str:
    """A label track: start, end and label, separated by tabs."""
    return "".join(
        f"{event.start_s:.6f}\t{event.end_s:.6f}\t{' '.join(event.label.split())}\n"
        for event in found.events
    )


def _word(text: str) -> str:
    """A text without spaces."""
    return re.sub(r"\s+", "_", text.strip())


def _clock(seconds: float) -> str:
    """A time as 0:07.8 or 1:02:03.4."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 10:04.1f}"
    return f"{hours}:{minutes:02}:{text}" if hours else f"{minutes}:{text}"


def _shorten(text: str, width: int) -> str:
    """Keep the end of a text that is too wide."""
    return text if len(text) <= width else "..." + text[3 - width :]
