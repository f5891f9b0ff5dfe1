"""Events as text: a table for reading; CSV, JSON lines, Audacity labels and RTTM for programs."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audiomamba.errors import ConfigError
from audiomamba.infer.formats.format import Format, choose_by_name, choose_by_suffix
from audiomamba.infer.formats.text import clock_text, csv_line, json_line, shortened

if TYPE_CHECKING:
    from audiomamba.infer.results import Row

__all__ = [
    "EVENT_FORMATS",
    "AudacityLabels",
    "EventCsv",
    "EventJson",
    "EventTable",
    "EventText",
    "Rttm",
    "choose_event_format",
]

_WIDEST_LABEL, _WIDEST_FILE, _TIME = 22, 26, 9


class EventText(Format, ABC):
    """A format of text: lines for every recording, as soon as its events are known.

    Args:
        files: the names of all recordings to come.
        labels: all labels that may appear.

    Raises:
        ConfigError: the format holds one recording only, and there are several.
    """

    def __init__(self, files: Sequence[str], labels: Sequence[str]) -> None:
        self.files, self.labels = files, labels

    def header(self) -> str:
        """Return what stands before the first recording; may be empty."""
        return ""

    @abstractmethod
    def lines(self, row: "Row") -> str:
        """Return the lines of one recording, each ended by a newline.

        Args:
            row: as RecordingEvents.to_dict gives it.
        """


class EventTable(EventText):
    """A table of at most 80 columns."""

    name = "table"

    def __init__(self, files: Sequence[str], labels: Sequence[str]) -> None:
        super().__init__(files, labels)
        self._label = min(_WIDEST_LABEL, max(map(len, [*labels, "(none)"])))
        self._file = min(_WIDEST_FILE, max(map(len, [*files, "recording"])))

    def header(self) -> str:
        """Return the column names and a rule."""
        names = self._line("recording", "from", "to", "event", "score")
        return f"{names}\n{'-' * len(names)}\n"

    def lines(self, row: "Row") -> str:
        """Return a line per event; the recording is named on the first."""
        file, lines = shortened(row["file"], self._file), []
        for event in row["events"]:
            times = clock_text(event["start_s"]), clock_text(event["end_s"])
            label = event["label"][: self._label]
            lines.append(self._line(file, *times, label, f"{event['score']:.2f}"))
            file = ""
        return "\n".join(lines or [self._line(file, "", "", "(none)", "").rstrip()]) + "\n"

    def _line(self, file: str, *cells: str) -> str:
        start, end, label, score = cells
        times = f"{start:>{_TIME}}  {end:>{_TIME}}"
        return f"{file:<{self._file}}  {times}  {label:<{self._label}}  {score:>5}"


class EventCsv(EventText):
    """CSV with a row per event: file, start_s, end_s, label, score."""

    name = "csv"
    suffixes = (".csv",)
    _columns = ("start_s", "end_s", "label", "score")

    def header(self) -> str:
        """Return the column names."""
        return csv_line(("file", *self._columns))

    def lines(self, row: "Row") -> str:
        """Return a row per event."""
        return "".join(
            csv_line((row["file"], *(event[name] for name in self._columns)))
            for event in row["events"]
        )


class EventJson(EventText):
    """JSON lines: an object per recording, with a list of events."""

    name = "json"
    suffixes = (".json", ".jsonl")

    def lines(self, row: "Row") -> str:
        """Return one line."""
        return json_line(row)


class AudacityLabels(EventText):
    """A label track of Audacity: start, end and label, separated by tabs."""

    name = "audacity"
    suffixes = (".txt",)

    def __init__(self, files: Sequence[str], labels: Sequence[str]) -> None:
        super().__init__(files, labels)
        if len(files) > 1:
            raise ConfigError(
                f"labels for Audacity are of one recording, and {len(files)} were given; "
                "call once for each"
            )

    def lines(self, row: "Row") -> str:
        """Return a line per event."""
        return "".join(
            f"{event['start_s']:.6f}\t{event['end_s']:.6f}\t{' '.join(event['label'].split())}\n"
            for event in row["events"]
        )


class Rttm(EventText):
    """RTTM: a SPEAKER line per event, whose name is the label and whose confidence the score."""

    name = "rttm"
    suffixes = (".rttm",)

    def __init__(self, files: Sequence[str], labels: Sequence[str]) -> None:
        super().__init__(files, labels)
        self._by_stem = len({Path(file).stem for file in files}) == len(set(files))

    def lines(self, row: "Row") -> str:
        """Return a line per event."""
        file = _word(Path(row["file"]).stem if self._by_stem else row["file"])
        return "".join(
            f"SPEAKER {file} 1 {event['start_s']:.3f} {event['end_s'] - event['start_s']:.3f} "
            f"<NA> <NA> {_word(event['label'])} {event['score']:.4f} <NA>\n"
            for event in row["events"]
        )


EVENT_FORMATS: tuple[type[EventText], ...] = (
    EventTable,
    EventCsv,
    EventJson,
    AudacityLabels,
    Rttm,
)


def choose_event_format(out: Path | None, name: str | None) -> type[EventText]:
    """Decide how events are written.

    Args:
        out: where they go; its suffix says how; None for a table.
        name: a format that was asked for by name; None to go by the suffix.

    Returns:
        The format.

    Raises:
        ConfigError: there is no such format, or nothing can be written there.
    """
    if name is not None:
        return choose_by_name(EVENT_FORMATS, name)
    return EventTable if out is None else choose_by_suffix(EVENT_FORMATS, out, "events")


def _word(text: str) -> str:
    """A text without spaces."""
    return re.sub(r"\s+", "_", text.strip())
