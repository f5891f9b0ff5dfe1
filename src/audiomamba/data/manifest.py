"""A data set as a list of clips: where each one is, what is in it, which split it belongs to."""

import hashlib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import soundfile

from audiomamba.data.clips import Clip, Clips, LabelVectors
from audiomamba.data.split_names import known_split
from audiomamba.errors import DataError

__all__ = ["Clip", "Clips", "Manifest", "check_spelling"]

NAMED = 3  # names that an error message lists before it says how many more there are
TINY_BYTES = 16_384  # a file that holds a header and no sound is smaller than this


@dataclass(frozen=True, kw_only=True, init=False)
class Manifest:
    """A data set: its clips, and the names of its classes in the order of a model's outputs.

    Args:
        labels: names of the classes.
        clips: the clips.
        corpus: the published corpus that this is, whose label list and splits stay as they were
            published; None for a data set of one's own.
        notes: what was decided while the list was read, one line each.

    Examples:
        >>> from pathlib import Path
        >>> clips = (Clip(path=Path(f"{i}.wav"), labels=("dog",), split=str(i)) for i in range(3))
        >>> manifest = Manifest(labels=("dog",), clips=clips)
        >>> manifest.splits, [clip.name for clip in manifest.leave_out(["1"])]
        (('0', '1', '2'), ['0.wav', '2.wav'])
    """

    labels: tuple[str, ...]
    clips: Clips
    corpus: str | None
    notes: tuple[str, ...] = field(compare=False)

    def __init__(
        self,
        *,
        labels: Iterable[str],
        clips: Iterable[Clip],
        corpus: str | None = None,
        notes: Iterable[str] = (),
    ) -> None:
        object.__setattr__(self, "labels", tuple(labels))
        object.__setattr__(self, "clips", clips if isinstance(clips, Clips) else Clips(clips))
        object.__setattr__(self, "corpus", corpus)
        object.__setattr__(self, "notes", tuple(notes))

    @cached_property
    def index(self) -> dict[str, int]:
        """The index of each label in a model's output."""
        return {label: index for index, label in enumerate(self.labels)}

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, sorted, numbers by their value."""
        return tuple(
            sorted(self.clips.splits, key=lambda name: (not name.isdigit(), name.zfill(9)))
        )

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the splits that are numbers: the folds of a cross-validation."""
        return tuple(name for name in self.splits if name.isdigit())

    @property
    def single_label(self) -> bool:
        """Whether every clip has exactly one label."""
        return bool((np.diff(self.clips.label_numbers()[1]) == 1).all())

    def select(self, split: str) -> Clips:
        """Return the clips of one split.

        Args:
            split: name of the split; "val" for "valid" and the like will do.

        Returns:
            Its clips, in order.

        Raises:
            DataError: the data set has no such split.
        """
        if split not in self.splits:
            split = known_split(split) or split
        clips = self.clips.take(np.flatnonzero(self.clips.in_splits([split])))
        if not clips:
            known = ", ".join(self.splits) or "none"
            raise DataError(f"the data set has no split {split!r}; its splits: {known}")
        return clips

    def leave_out(self, splits: Iterable[str]) -> Clips:
        """Return the clips of all other splits, those that are in no split included.

        Args:
            splits: names of the splits to leave out; there need not be such splits.

        Returns:
            The other clips, in order.
        """
        return self.clips.take(np.flatnonzero(~self.clips.in_splits(splits)))

    def label_vectors(self, clips: Iterable[Clip]) -> LabelVectors:
        """Return the label vectors of clips, sparse: for training, where clips may be millions.

        Args:
            clips: clips whose labels are all in this manifest's list.

        Returns:
            One vector per clip.
        """
        held = clips if isinstance(clips, Clips) else Clips(clips)
        return held.label_vectors(self.labels)

    def targets(self, clips: Iterable[Clip]) -> np.ndarray:
        """Return the label vectors of clips.

        Args:
            clips: clips whose labels are all in this manifest's list.

        Returns:
            (clips, classes) float32 of zeros and ones.
        """
        return self.label_vectors(clips).dense()

    def check(self, *, files: bool = True) -> None:
        """Refuse a data set that cannot be trained on, before anything is read.

        Args:
            files: whether the recordings are looked at too.

        Raises:
            DataError: there are no clips; a file is missing; a clip has no length or is listed
                twice; a label is not in the list. In a data set of one's own also: a class has no
                clips, two labels differ only in spelling, or two splits share a group or have
                pieces of one recording.
        """
        if not self.clips:
            raise DataError("the data set has no clips")
        if len(self.index) != len(self.labels):
            twice = [label for label, n in Counter(self.labels).items() if n > 1]
            raise DataError(f"the label list names {some(twice)} more than once")
        self._check_labels()
        if files:
            self._check_files()
        self._check_doubles()
        if self.corpus is None:
            check_spelling(self.labels)
            for warning in self.warnings():
                raise DataError(warning)

    def warnings(self) -> Iterator[str]:
        """Say what may be wrong, but is so in some corpora as they were published.

        Yields:
            One line for classes without clips, one for groups that are in several splits, and in
            a data set of one's own one for recordings with pieces in several splits.
        """
        used = set(self.clips.label_names)
        empty = [label for label in self.labels if label not in used]
        if empty:
            yield f"no clip is labeled {some(empty)}; expected at least one per class"
        shared = self._shared(list(self.clips.groups()))
        if shared:
            yield (
                f"{len(shared)} groups are in more than one split: {some(shared)}; expected each "
                "speaker, source or whatever the column group names in one split only"
            )
        torn = self._shared(self._recordings()) if self.corpus is None else []
        if torn:
            yield (
                f"{len(torn)} recordings have pieces in more than one split: {some(torn)}; "
                "expected each in one split only, or a column group that says what belongs together"
            )

    def _shared(self, groups: Sequence[str]) -> list[str]:
        """Groups with clips in more than one split, each with the names of two."""
        part_of: dict[str, str] = {}
        shared: dict[str, str] = {}
        splits = {name: self.clips.in_splits([name]) for name in self.splits}
        for name, inside in splits.items():
            for index in np.flatnonzero(inside).tolist():
                group = groups[index]
                if group and part_of.setdefault(group, name) != name:
                    shared.setdefault(group, f"{group} ({part_of[group]}, {name})")
        return sorted(shared.values())

    def _recordings(self) -> list[str]:
        """Every clip's recording; an empty string where a group says what belongs together."""
        columns = zip(self.clips.files(), self.clips.keys(), self.clips.groups(), strict=True)
        return ["" if group else f"{path}#{key}" if key else path for path, key, group in columns]

    def _check_labels(self) -> None:
        unknown = [label for label in self.clips.label_names if label not in self.index]
        if unknown:
            _refuse(
                (
                    f"{clip.path.name} ({label})"
                    for clip in self.clips
                    for label in clip.labels
                    if label not in self.index
                ),
                "labeled with a name that is not in the label list",
            )

    def _check_files(self) -> None:
        missing: list[str] = []
        silent: list[str] = []
        unmeasured = np.isnan(self.clips.seconds).tolist()
        previous = ""
        for index, path in enumerate(self.clips.files()):
            if path == previous:  # many clips of one file stand side by side
                continue
            previous = path
            if not os.path.isfile(path):  # noqa: PTH113 (millions of them)
                missing.append(path)
            elif unmeasured[index] and _holds_nothing(path):
                silent.append(path)
        _refuse(missing, "in the list but not on disk")
        start_s, end_s = self.clips.pieces_s.T
        nothing = (self.clips.seconds <= 0) | (end_s <= start_s)
        silent += [self.clips[index].name for index in np.flatnonzero(nothing).tolist()]
        _refuse(silent, "of zero length")

    def _check_doubles(self) -> None:
        real: dict[str, str] = {}

        def marks() -> Iterator[int]:
            pieces = self.clips.pieces_s.tolist()
            keys = self.clips.keys()
            for path, key, piece in zip(self.clips.files(), keys, pieces, strict=True):
                folder, name = os.path.split(path)
                if folder not in real:
                    real[folder] = os.path.realpath(folder)
                yield hash((real[folder], name, key, *map(repr, piece)))

        seen = np.fromiter(marks(), dtype=np.int64, count=len(self.clips))
        _, first, counts = np.unique(seen, return_index=True, return_counts=True)
        twice = np.sort(first[counts > 1]).tolist()
        _refuse((str(self.clips[index].path) for index in twice), "listed more than once")

    def with_held_out(self, fraction: float, seed: int) -> "Manifest":
        """Divide an undivided data set into "train" and "valid", class by class.

        Where clips have groups, whole groups are held out, else whole recordings.

        Args:
            fraction: share of each class that is held out, at least one clip of every class.
            seed: decides which clips.

        Returns:
            The same clips with their splits set.

        Raises:
            DataError: a class has a single clip, group or recording, so nothing can be held out.
        """
        rng = np.random.default_rng(seed)
        held: set[int] = set()
        kinds = [self._kind(clip) for clip in self.clips]
        pairs = zip(self.clips.groups(), self._recordings(), strict=True)
        groups = [group or recording for group, recording in pairs]
        together: dict[str, list[int]] = defaultdict(list)
        left: dict[str, set[str]] = defaultdict(set)  # of each class, to learn from
        for index, group in enumerate(groups):
            together[group].append(index)
            left[kinds[index]].add(group)
        for kind in sorted(set(kinds)):
            members = [index for index, other in enumerate(kinds) if other == kind]
            units = _units(members, groups)
            if len(units) < 2:
                raise DataError(self._cannot_divide(kind, members))
            n_held = max(1, round(fraction * len(members))) - len(held.intersection(members))
            for unit in rng.permutation(len(units)).tolist():
                if n_held <= 0:
                    break
                group = groups[units[unit][0]]
                of_group = {kinds[index] for index in together[group]}
                is_last = any(left[other] == {group} for other in of_group)
                if is_last or not held.isdisjoint(units[unit]):  # drawn for another class already
                    continue
                held.update(together[group])
                n_held -= len(units[unit])
                for other in of_group:
                    left[other].discard(group)
        splits = ["valid" if index in held else "train" for index in range(len(groups))]
        return replace(self, clips=self.clips.with_splits(splits))

    def _cannot_divide(self, kind: str, members: Sequence[int]) -> str:
        """Why no clip of a class can be held out."""
        if len(members) > 1 and not self.clips[members[0]].group:
            name = self.clips[members[0]].path.name
            return (
                f"all {len(members)} clips of {kind!r} are pieces of one recording, {name}; "
                "expected at least 2, or a column group that says what belongs together"
            )
        what = "clip" if len(members) < 2 else "group"
        return f"{kind!r} has 1 {what}; expected at least 2, to hold one out"

    def _kind(self, clip: Clip) -> str:
        """What a clip counts as when the data set is divided: its rarest label."""
        return min(clip.labels, key=lambda label: (self._counts[label], label), default="")

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter(label for clip in self.clips for label in clip.labels)

    @property
    def fingerprint(self) -> str:
        """A hash of the labels and of every clip's name, labels and split."""
        digest = hashlib.sha256(repr(self.labels).encode())
        for clip in self.clips:
            digest.update(repr((clip.name, clip.labels, clip.split)).encode())
        return digest.hexdigest()


def check_spelling(labels: Iterable[str]) -> None:
    """Refuse labels that differ only in case, spaces or the like, which would be two classes.

    Args:
        labels: names of the classes.

    Raises:
        DataError: two of them mean the same.

    Examples:
        >>> check_spelling(["dog", "rain", "Dog"])
        Traceback (most recent call last):
        audiomamba.errors.DataError: the labels 'dog' and 'Dog' differ only in spelling; ...
    """
    first: dict[str, str] = {}
    for label in labels:
        plain = " ".join(re.split(r"[\s_-]+", unicodedata.normalize("NFKC", label).casefold()))
        other = first.setdefault(plain.strip(), label)
        if other != label:
            raise DataError(
                f"the labels {other!r} and {label!r} differ only in spelling; expected one of them"
            )


def some(names: Sequence[str]) -> str:
    """Name the first few, and say how many more there are.

    Args:
        names: the names.

    Returns:
        A part of a sentence.
    """
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _refuse(names: Iterable[str], what: str) -> None:
    """Raise an error that names the clips, if there are any."""
    found = list(names)
    if found:
        raise DataError(f"{len(found)} clips are {what}: {some(found)}")


def _holds_nothing(path: str) -> bool:
    """Whether a file is empty, or a header without sound."""
    size = os.path.getsize(path)  # noqa: PTH202 (millions of them)
    if size == 0 or size > TINY_BYTES:
        return size == 0
    try:
        return bool(soundfile.info(os.fsencode(path)).frames == 0)
    except soundfile.LibsndfileError:
        return False


def _units(members: list[int], groups: Sequence[str]) -> list[list[int]]:
    """Clips that are held out together: those of one group."""
    units: dict[str, list[int]] = {}
    for index in members:
        units.setdefault(groups[index], []).append(index)
    return list(units.values())
