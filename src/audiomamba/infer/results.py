"""What is said of recordings: plain records, each with one form for JSON and for tables.

The method to_dict gives that form. Every file and every output has it from there, so that a score
has the same digits and the same neighbors wherever it is written.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiomamba.errors import AudioMambaError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "DIGITS",
    "Embedded",
    "Event",
    "Failed",
    "RecordingEvents",
    "Row",
    "Rows",
    "Scored",
    "Tag",
    "Tagged",
    "TaggedWindow",
]

Row = dict[str, Any]
Rows = Callable[[], Iterator[Row]]  # gives all rows, from the first on, at each call

DIGITS = 6  # after the point, of scores and of seconds


@dataclass(frozen=True, slots=True)
class Tag:
    """One thing that may be heard.

    Args:
        label: its name.
        score: the model's score for it, from 0 to 1.
        heard: whether the score reaches the label's own threshold; None where a model has none.

    Examples:
        >>> Tag("dog", 0.87654321).to_dict()
        {'label': 'dog', 'score': 0.876543}
        >>> Tag("dog", 0.25, heard=False).to_dict()
        {'label': 'dog', 'score': 0.25, 'heard': False}
    """

    label: str
    score: float
    heard: bool | None = None

    def to_dict(self) -> Row:
        """Return label, score and, where it is known, heard."""
        row: Row = {"label": self.label, "score": round(self.score, DIGITS)}
        return row if self.heard is None else {**row, "heard": self.heard}


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of a whole recording.

    Args:
        scores: (classes,) float32, each from 0 to 1, in the order of the model's labels.
        seconds: length of the recording.
        window_s: length of the windows that it was read in.
        damage: why a part of the recording could not be read; None for none.

    Examples:
        >>> import torch
        >>> Scored(torch.tensor([0.5]), seconds=0.25, window_s=5.0).note
        '0.25 s of sound, under half of a window of 5 s'
    """

    scores: "Tensor"
    seconds: float
    window_s: float
    damage: AudioMambaError | None = None

    @property
    def note(self) -> str:
        """What users should know about the scores: that they rest on little sound; else empty."""
        if self.seconds >= self.window_s / 2:
            return ""
        return f"{self.seconds:.3g} s of sound, under half of a window of {self.window_s:.3g} s"


@dataclass(frozen=True, slots=True)
class Tagged:
    """The tags of one recording that were asked for.

    Args:
        file: the recording.
        seconds: its length.
        tags: the highest score first; may be empty.
        note: what users should know about the scores, as Scored.note.
        damage: why a part of the recording could not be read; None for none.

    Examples:
        >>> Tagged(Path("dog.ogg"), 1.5, [Tag("dog", 0.75)]).to_dict()
        {'file': 'dog.ogg', 'seconds': 1.5, 'tags': [{'label': 'dog', 'score': 0.75}],
         'note': '', 'error': ''}
    """

    file: Path
    seconds: float
    tags: Sequence[Tag]
    note: str = ""
    damage: AudioMambaError | None = None

    def to_dict(self) -> Row:
        """Return file, seconds, tags, note and error: the damage, or empty."""
        error = "" if self.damage is None else _one_line(self.damage)
        seconds = round(self.seconds, DIGITS)
        return _tag_row(self.file, seconds, self.tags, note=self.note, error=error)


@dataclass(frozen=True, slots=True)
class Failed:
    """A recording that could not be read.

    Args:
        file: the recording.
        error: why; the message names the file.

    Examples:
        >>> from audiomamba.errors import AudioError
        >>> Failed(Path("a.wav"), AudioError("a.wav: no such file")).to_dict()["error"]
        'a.wav: no such file'
    """

    file: Path
    error: AudioMambaError

    def to_dict(self) -> Row:
        """Return what Tagged.to_dict returns: no seconds, no tags, and the error as one line."""
        return _tag_row(self.file, None, (), error=_one_line(self.error))


def _one_line(error: AudioMambaError) -> str:
    return " ".join(str(error).split())


def _tag_row(
    file: Path, seconds: float | None, tags: Sequence[Tag], *, note: str = "", error: str = ""
) -> Row:
    listed = [tag.to_dict() for tag in tags]
    return {"file": str(file), "seconds": seconds, "tags": listed, "note": note, "error": error}


@dataclass(frozen=True, slots=True)
class TaggedWindow:
    """The tags of one window of sound that is still coming.

    Args:
        start_s: where it begins, in seconds from the beginning of the sound.
        end_s: where it ends.
        tags: the highest score first; may be empty.
    """

    start_s: float
    end_s: float
    tags: Sequence[Tag]

    def to_dict(self) -> Row:
        """Return start_s, end_s and tags."""
        return {
            "start_s": round(self.start_s, DIGITS),
            "end_s": round(self.end_s, DIGITS),
            "tags": [tag.to_dict() for tag in self.tags],
        }


@dataclass(frozen=True, slots=True)
class Event:
    """A sound from when to when, with its highest smoothed score, from 0 to 1.

    Examples:
        >>> Event("dog", 0.5, 2.0, 0.9).to_dict()
        {'label': 'dog', 'start_s': 0.5, 'end_s': 2.0, 'score': 0.9}
    """

    label: str
    start_s: float
    end_s: float
    score: float

    def to_dict(self) -> Row:
        """Return label, start_s, end_s and score."""
        return {
            "label": self.label,
            "start_s": round(self.start_s, DIGITS),
            "end_s": round(self.end_s, DIGITS),
            "score": round(self.score, DIGITS),
        }


@dataclass(frozen=True, slots=True)
class RecordingEvents:
    """The events of one recording.

    Args:
        file: the recording.
        seconds: its length.
        step_s: seconds from one frame to the next.
        events: in the order of their starts; may be empty.
        damage: as of Tagged.

    Examples:
        >>> found = RecordingEvents(Path("a.wav"), 3.0, 0.1, [Event("dog", 0.5, 2.0, 0.9)])
        >>> found.to_dict()["events"]
        [{'label': 'dog', 'start_s': 0.5, 'end_s': 2.0, 'score': 0.9}]
    """

    file: Path
    seconds: float
    step_s: float
    events: Sequence[Event]
    damage: AudioMambaError | None = None

    def to_dict(self) -> Row:
        """Return file, seconds, step_s and events."""
        return {
            "file": str(self.file),
            "seconds": round(self.seconds, DIGITS),
            "step_s": self.step_s,
            "events": [event.to_dict() for event in self.events],
        }


@dataclass(frozen=True, slots=True)
class Embedded:
    """A recording whose embeddings are in the file.

    Args:
        file: the recording.
        seconds: its length.
        first_row: the index of its first row in the file.
        n_rows: how many rows are its.
        damage: as of Tagged.

    Examples:
        >>> Embedded(Path("a.wav"), 3.0, first_row=0, n_rows=1).to_dict()
        {'file': 'a.wav', 'seconds': 3.0, 'first_row': 0, 'n_rows': 1}
    """

    file: Path
    seconds: float
    first_row: int
    n_rows: int
    damage: AudioMambaError | None = None

    def to_dict(self) -> Row:
        """Return file, seconds, first_row and n_rows."""
        return {
            "file": str(self.file),
            "seconds": round(self.seconds, DIGITS),
            "first_row": self.first_row,
            "n_rows": self.n_rows,
        }
