"""What the package knows of a published data set."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from audiomamba.audio.front_end import FrontEnd
from audiomamba.data.labels import LabelList, label_list
from audiomamba.data.manifest import Manifest

__all__ = ["Corpus", "Download"]


@dataclass(frozen=True, kw_only=True)
class Download:
    """Where a corpus may be fetched.

    Args:
        url: its archive.
        size: bytes of it.
        sha256: hash of it, in hex.
        table: a file of the unpacked corpus, by which it is recognized.
    """

    url: str
    size: int
    sha256: str
    table: str


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A published data set, or a layout of one's own.

    Args:
        name: how it is called everywhere.
        read: lists the clips of the folder or table that holds it; raises DataError where the
            layout is another, AudioError and MissingDependencyError as for list_clips.
        labels: the table of its classes in data/labels, without suffix; None where the classes are
            those that the clips have.
        front_end: how published models read it: the mean and deviation of its log-mel values, and
            the length of the input.
        scores: how the logits of published models become scores.
        metric: what papers report on it.
        download: where it may be fetched; None where that takes more than one archive.
        license: under which terms it may be used, where these are known.
        also: other spellings of its name.

    Examples:
        >>> from audiomamba.data import CORPORA
        >>> corpus = CORPORA["speech_commands"]
        >>> corpus.front_end.n_frames, corpus.metric, corpus.label_list.names[0]
        (128, 'accuracy', 'backward')
    """

    name: str
    read: Callable[[Path], Manifest]
    labels: str | None = None
    front_end: FrontEnd = field(default_factory=FrontEnd)
    scores: Literal["sigmoid", "softmax"] = "softmax"
    metric: Literal["mAP", "accuracy"] = "accuracy"
    download: Download | None = None
    license: str = "unknown"
    also: tuple[str, ...] = ()

    @property
    def label_list(self) -> LabelList | None:
        """The classes in the order of published models' outputs; None if nobody has fixed them."""
        return None if self.labels is None else label_list(self.labels)
