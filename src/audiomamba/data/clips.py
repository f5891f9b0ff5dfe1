"""Clips: one recording each, or millions of them held as columns.

A list of two million Python objects takes gigabytes and is copied into every worker process as its
reference counts change; arrays take a tenth of that and stay shared. A Clip exists while somebody
looks at it.
"""

import math
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

__all__ = ["Clip", "Clips", "LabelVectors"]

UNKNOWN = -1  # a split or a sample rate that is not known


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One recording, or a piece of one, with its labels.

    Args:
        path: the audio file, or the file that holds many recordings.
        labels: names of what is in it; none for a clip that holds none of the classes.
        split: which split of the data set it is in: a fold's number as text, or a name such as
            "train"; None where the data set is not divided.
        start_s: where the piece begins.
        end_s: where it ends; None for the end of the recording.
        key: which recording in the file: "OFFSET+SIZE" in bytes for a tar file, "DATASET" or
            "DATASET/ROW" for an HDF5 file; empty for an audio file.
        group: what must not be in two splits at once: a speaker, a source recording; None if
            nothing is known.
        seconds: how long the piece is; None if nobody has measured it.
        sample_rate: the recording's rate in Hz; None if nobody has looked.
        digest: hash of the recording's bytes, BLAKE2b of 128 bits in hex; None if nobody has
            computed it.

    Examples:
        >>> clip = Clip(path=Path("day.wav"), labels=("dog",), start_s=1.5, end_s=3.0)
        >>> clip.name
        'day.wav@1.5-3.0'
    """

    path: Path
    labels: tuple[str, ...]
    split: str | None = None
    start_s: float = 0.0
    end_s: float | None = None
    key: str = ""
    group: str | None = None
    seconds: float | None = None
    sample_rate: int | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """The file's name, with what distinguishes the clip where the file holds several."""
        inside = f"#{self.key}" if self.key else ""
        piece = "" if self.start_s == 0 and self.end_s is None else f"@{self.start_s}-{self.end_s}"
        return self.path.name + inside + piece


class _Texts(Sequence[str]):
    """Strings in one block of memory; an empty one stands for none."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("q", [0])

    def append(self, text: str) -> None:
        self._bytes += text.encode("utf-8", "surrogateescape")
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        piece = self._bytes[self._ends[index] : self._ends[index + 1]]
        return piece.decode("utf-8", "surrogateescape")


class _Names:
    """A few strings that occur again and again, by number."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self.names)
            self.names.append(name)
        return self._numbers[name]


class _Columns:
    """The clips' fields, one array each."""

    def __init__(self) -> None:
        self.folders, self.split_names, self.label_names = _Names(), _Names(), _Names()
        self.file_names, self.keys = _Texts(), _Texts()
        self.groups, self.digests = _Texts(), _Texts()
        self._folder, self._split = array("i"), array("i")
        self._start, self._end, self._seconds = array("d"), array("d"), array("d")
        self._rate = array("i")
        self._label, self._label_end = array("i"), array("q", [0])

    def append(self, clip: Clip) -> None:
        folder, name = os.path.split(clip.path)
        self._folder.append(self.folders.number(folder))
        self.file_names.append(name)
        self.keys.append(clip.key)
        self.groups.append(clip.group or "")
        self.digests.append(clip.digest or "")
        split = UNKNOWN if clip.split is None else self.split_names.number(clip.split)
        self._split.append(split)
        self._start.append(clip.start_s)
        self._end.append(math.nan if clip.end_s is None else clip.end_s)
        self._seconds.append(math.nan if clip.seconds is None else clip.seconds)
        self._rate.append(UNKNOWN if clip.sample_rate is None else clip.sample_rate)
        self._label.extend(map(self.label_names.number, clip.labels))
        self._label_end.append(len(self._label))

    def freeze(self) -> None:
        """Turn what has grown into arrays."""
        self.folder, self.split = np.asarray(self._folder), np.asarray(self._split)
        self.start, self.end = np.asarray(self._start), np.asarray(self._end)
        self.seconds, self.rate = np.asarray(self._seconds), np.asarray(self._rate)
        self.label, self.label_end = np.asarray(self._label), np.asarray(self._label_end)

    def clip(self, row: int, split: int) -> Clip:
        labels = self._label[self._label_end[row] : self._label_end[row + 1]]
        end, seconds, rate = self._end[row], self._seconds[row], self._rate[row]
        return Clip(
            path=Path(self.folders.names[self._folder[row]], self.file_names[row]),
            labels=tuple([self.label_names.names[label] for label in labels]),
            split=None if split == UNKNOWN else self.split_names.names[split],
            start_s=self._start[row],
            end_s=None if math.isnan(end) else end,
            key=self.keys[row],
            group=self.groups[row] or None,
            seconds=None if math.isnan(seconds) else seconds,
            sample_rate=None if rate == UNKNOWN else rate,
            digest=self.digests[row] or None,
        )


class Clips(Sequence[Clip]):
    """Clips in order, held as columns; what is selected from them shares the columns.

    Args:
        clips: the clips.

    Examples:
        >>> names = ("a.wav", "b.wav", "c.wav")
        >>> clips = Clips(Clip(path=Path(name), labels=("dog",)) for name in names)
        >>> len(clips), clips[0].name, clips[1:].label_names
        (3, 'a.wav', ('dog',))
    """

    def __init__(self, clips: Iterable[Clip] = ()) -> None:
        columns = _Columns()
        for clip in clips:
            columns.append(clip)
        columns.freeze()
        self._columns = columns
        self._rows = np.arange(len(columns.file_names))
        self._split = columns.split

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> "Clips": ...
    def __getitem__(self, index: int | slice) -> "Clip | Clips":
        """Return one clip, or with a slice some of them."""
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return self._columns.clip(int(self._rows[index]), int(self._split[index]))

    def __iter__(self) -> Iterator[Clip]:
        return (self[index] for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Clips):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} clips>"

    def take(self, indices: np.ndarray) -> "Clips":
        """Select clips.

        Args:
            indices: (n,) integers, indices in this list.

        Returns:
            Those clips in that order.
        """
        taken = object.__new__(Clips)
        taken._columns = self._columns
        taken._rows, taken._split = self._rows[indices], self._split[indices]
        return taken

    def with_splits(self, splits: Sequence[str]) -> "Clips":
        """Put the clips into other splits.

        Args:
            splits: (clips,) names of the splits.

        Returns:
            The same clips with their new splits.
        """
        changed = self.take(np.arange(len(self)))
        numbers = [self._columns.split_names.number(name) for name in splits]
        changed._split = np.array(numbers, dtype=self._split.dtype)
        return changed

    @property
    def names(self) -> Sequence[str]:
        """The clips' names, made when they are looked at."""
        return _ClipNames(self)

    @property
    def splits(self) -> frozenset[str]:
        """Names of the splits that occur."""
        known = self._columns.split_names.names
        return frozenset(known[number] for number in np.unique(self._split) if number != UNKNOWN)

    def in_splits(self, names: Iterable[str]) -> np.ndarray:
        """Tell which clips are in one of some splits.

        Args:
            names: names of the splits.

        Returns:
            (clips,) of booleans.
        """
        known = self._columns.split_names.names
        wanted = [known.index(name) for name in names if name in known]
        return np.isin(self._split, wanted)

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels that occur, in the order in which they were first met."""
        used = np.unique(self.label_numbers()[0])
        return tuple(self._columns.label_names.names[number] for number in used)

    def label_numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all labels of all clips as numbers.

        Returns:
            (labels,) numbers of label names, and (clips + 1,) where each clip's labels begin.
        """
        ends = self._columns.label_end
        first, n_labels = ends[self._rows], ends[self._rows + 1] - ends[self._rows]
        begins = np.concatenate(([0], np.cumsum(n_labels)))
        indices = np.arange(begins[-1]) + np.repeat(first - begins[:-1], n_labels)
        return self._columns.label[indices], begins

    def label_vectors(self, labels: Sequence[str]) -> "LabelVectors":
        """Return the clips' label vectors, sparse.

        Args:
            labels: names of the classes, in the order of a model's outputs; every clip's labels are
                among them.

        Returns:
            One vector per clip.
        """
        class_of = {label: index for index, label in enumerate(labels)}
        numbers, begins = self.label_numbers()
        known = self._columns.label_names.names
        table = np.zeros(len(known), dtype=np.int32)
        for number in np.unique(numbers):
            table[number] = class_of[known[number]]
        return LabelVectors(table[numbers], begins, len(labels))

    @property
    def seconds(self) -> np.ndarray:
        """(clips,) float64, how long each is; NaN where it is not known."""
        return self._columns.seconds[self._rows]

    @property
    def pieces_s(self) -> np.ndarray:
        """(clips, 2) float64, where each begins and ends; NaN for the end of the recording."""
        return np.stack((self._columns.start[self._rows], self._columns.end[self._rows]), axis=1)

    def files(self) -> Iterator[str]:
        """Yield the path of every clip's file, as text."""
        columns = self._columns
        for row in self._rows.tolist():
            folder = columns.folders.names[columns.folder[row]]
            yield os.path.join(folder, columns.file_names[row])  # noqa: PTH118 (millions)

    def groups(self) -> Iterator[str]:
        """Yield every clip's group; an empty string where nothing is known."""
        return (self._columns.groups[row] for row in self._rows.tolist())

    def keys(self) -> Iterator[str]:
        """Yield every clip's key; an empty string for a file of its own."""
        return (self._columns.keys[row] for row in self._rows.tolist())


class _ClipNames(Sequence[str]):
    """The names of clips."""

    def __init__(self, clips: Clips) -> None:
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return _ClipNames(self._clips[index])
        return self._clips[index].name


class LabelVectors(Sequence[np.ndarray]):
    """Vectors of zeros and ones, of which only the ones are stored.

    Args:
        classes: (ones,) class numbers, those of one clip side by side.
        begins: (clips + 1,) where each clip's classes begin.
        n_classes: length of a vector.

    Examples:
        >>> vectors = LabelVectors(np.array([0, 2, 1]), np.array([0, 2, 3]), n_classes=3)
        >>> vectors[0].tolist(), vectors.counts.tolist()
        ([1.0, 0.0, 1.0], [1, 1, 1])
    """

    def __init__(self, classes: np.ndarray, begins: np.ndarray, n_classes: int) -> None:
        self.classes = classes
        self.begins = begins
        self.n_classes = n_classes

    def __len__(self) -> int:
        return len(self.begins) - 1

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        """Return one clip's vector, (classes,) float32."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        vector = np.zeros(self.n_classes, dtype=np.float32)
        vector[self.classes[self.begins[index] : self.begins[index + 1]]] = 1.0
        return vector

    @property
    def counts(self) -> np.ndarray:
        """(classes,) int64, how many clips carry each label."""
        return np.bincount(self.classes, minlength=self.n_classes)

    def sums(self, per_class: np.ndarray) -> np.ndarray:
        """Add up a figure per class over each clip's labels.

        Args:
            per_class: (classes,).

        Returns:
            (clips,) float64; 0 for a clip without labels.
        """
        return np.bincount(self._clips, weights=per_class[self.classes], minlength=len(self))

    def dense(self) -> np.ndarray:
        """Return all vectors at once, (clips, classes) float32."""
        vectors = np.zeros((len(self), self.n_classes), dtype=np.float32)
        vectors[self._clips, self.classes] = 1.0
        return vectors

    @property
    def _clips(self) -> np.ndarray:
        """(ones,) the clip that each class number belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.begins))
