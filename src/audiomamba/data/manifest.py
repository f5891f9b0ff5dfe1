"""A data set as a list of clips: where each one is, what is in it, which part it belongs to."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from audiomamba.errors import DataError

__all__ = ["Clip", "Manifest"]

NAMED = 3  # names that an error message lists before it says how many more there are


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One recording, or a piece of one, with its labels.

    Args:
        path: the audio file.
        labels: names of what is in it; none for a clip that holds none of the classes.
        split: the part of the data set it belongs to: a fold's number as text, or a name such as
            "train"; None where the data set is not divided.
        start_s: where the piece begins.
        end_s: where it ends; None for the end of the file.
    """

    path: Path
    labels: tuple[str, ...]
    split: str | None = None
    start_s: float = 0.0
    end_s: float | None = None

    @property
    def name(self) -> str:
        """The file's name, with the piece where it is only a piece."""
        piece = "" if self.start_s == 0 and self.end_s is None else f"@{self.start_s}-{self.end_s}"
        return self.path.name + piece


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A data set: its clips, and the names of its classes in the order of a model's outputs.

    Args:
        labels: names of the classes.
        clips: the clips.
    """

    labels: tuple[str, ...]
    clips: tuple[Clip, ...]

    @cached_property
    def index(self) -> dict[str, int]:
        """The place of each label in a model's output."""
        return {label: place for place, label in enumerate(self.labels)}

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the parts, sorted, numbers by their value."""
        names = {clip.split for clip in self.clips if clip.split is not None}
        return tuple(sorted(names, key=lambda name: (not name.isdigit(), name.zfill(9))))

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the parts that are numbers: the folds of a cross-validation."""
        return tuple(name for name in self.splits if name.isdigit())

    @property
    def single_label(self) -> bool:
        """Whether every clip has exactly one label."""
        return all(len(clip.labels) == 1 for clip in self.clips)

    def select(self, split: str) -> tuple[Clip, ...]:
        """Return the clips of one part.

        Args:
            split: name of the part.

        Returns:
            Its clips, in order.

        Raises:
            DataError: the data set has no such part.
        """
        clips = tuple(clip for clip in self.clips if clip.split == split)
        if not clips:
            known = ", ".join(self.splits) or "none"
            raise DataError(f"the data set has no part {split!r}; its parts: {known}")
        return clips

    def targets(self, clips: Iterable[Clip]) -> np.ndarray:
        """Return the label vectors of clips.

        Args:
            clips: clips whose labels are all in this manifest's list.

        Returns:
            (clips, classes) float32 of zeros and ones.
        """
        rows = [[self.index[label] for label in clip.labels] for clip in clips]
        targets = np.zeros((len(rows), len(self.labels)), dtype=np.float32)
        for target, places in zip(targets, rows, strict=True):
            target[places] = 1.0
        return targets

    def check(self) -> None:
        """Refuse a data set that cannot be trained on, before anything is read.

        Raises:
            DataError: there are no clips, a file is missing or listed twice, a label is not in the
                list, or a class has no clips.
        """
        if not self.clips:
            raise DataError("the data set has no clips")
        if len(self.index) != len(self.labels):
            twice = [label for label, n in Counter(self.labels).items() if n > 1]
            raise DataError(f"the label list names {_some(twice)} more than once")
        self._check_labels()
        _refuse(
            (str(clip.path) for clip in self.clips if not clip.path.is_file()),
            "in the list but not on disk",
        )
        pieces = Counter((clip.path.resolve(), clip.start_s, clip.end_s) for clip in self.clips)
        _refuse((str(piece[0]) for piece, n in pieces.items() if n > 1), "listed more than once")

    def _check_labels(self) -> None:
        used = {label for clip in self.clips for label in clip.labels}
        _refuse(
            (
                f"{clip.path.name} ({label})"
                for clip in self.clips
                for label in clip.labels
                if label not in self.index
            ),
            "labeled with a name that is not in the label list",
        )
        empty = [label for label in self.labels if label not in used]
        if empty:
            raise DataError(f"no clip is labeled {_some(empty)}; expected at least one per class")

    def with_held_out(self, fraction: float, seed: int) -> "Manifest":
        """Divide an undivided data set into "train" and "valid", class by class.

        Args:
            fraction: share of each class that is held out, at least one clip of every class.
            seed: decides which clips.

        Returns:
            The same clips with their parts set.

        Raises:
            DataError: a class has a single clip, so nothing can be held out.
        """
        rng = np.random.default_rng(seed)
        held: set[int] = set()
        for label in sorted({self._group(clip) for clip in self.clips}):
            members = [i for i, clip in enumerate(self.clips) if self._group(clip) == label]
            if len(members) < 2:
                raise DataError(f"{label!r} has 1 clip; expected at least 2, to hold one out")
            n_held = max(1, round(fraction * len(members)))
            held.update(rng.permutation(members)[:n_held].tolist())
        clips = tuple(
            replace(clip, split="valid" if i in held else "train")
            for i, clip in enumerate(self.clips)
        )
        return replace(self, clips=clips)

    def _group(self, clip: Clip) -> str:
        """What a clip counts as when the data set is divided: its rarest label."""
        return min(clip.labels, key=lambda label: (self._counts[label], label), default="")

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter(label for clip in self.clips for label in clip.labels)

    @property
    def fingerprint(self) -> str:
        """A hash of the labels and of every clip's name, labels and part."""
        digest = hashlib.sha256(repr(self.labels).encode())
        for clip in self.clips:
            digest.update(repr((clip.name, clip.labels, clip.split)).encode())
        return digest.hexdigest()


def _refuse(names: Iterable[str], what: str) -> None:
    """Raise an error that names the clips, if there are any."""
    found = list(names)
    if found:
        raise DataError(f"{len(found)} clips are {what}: {_some(found)}")


def _some(names: list[str]) -> str:
    """The first few names, and how many more."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
