"""What is said of recordings: plain records, each with the one form that it has in every file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audiomamba.errors import AudioMambaError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Embedded", "Event", "Failed", "RecordingEvents", "Scored", "Tag", "Tagged"]


@dataclass(frozen=True, slots=True)
class Tag:
    """One thing that may be heard, with the model's score for it, from 0 to 1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of a whole recording.

    Args:
        scores: (classes,) float32, each from 0 to 1, in the order of the model's labels.
        seconds: length of the recording.
        window_s: length of the windows that it was read in.
    """

    scores: "Tensor"
    seconds: float
    window_s: float

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
    """

    file: Path
    seconds: float
    tags: Sequence[Tag]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """A recording that could not be read.

    Args:
        file: the recording.
        error: why; the message names the file.
    """

    file: Path
    error: AudioMambaError


@dataclass(frozen=True, slots=True)
class Event:
    """A sound from when to when, with its highest smoothed score, from 0 to 1."""

    label: str
    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True, slots=True)
class RecordingEvents:
    """The events of one recording.

    Args:
        file: the recording.
        seconds: its length.
        step_s: seconds from one frame to the next.
        events: in the order of their starts; may be empty.
    """

    file: Path
    seconds: float
    step_s: float
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Embedded:
    """A recording whose embeddings are in the file.

    Args:
        file: the recording.
        seconds: its length.
        n_rows: rows of the file that belong to it.
    """

    file: Path
    seconds: float
    n_rows: int
