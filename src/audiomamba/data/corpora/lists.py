"""Lists of clips as AST's and AuM's authors write them: {"data": [{"wav": ..., "labels": ...}]}."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from audiomamba.data.clips import Clip
from audiomamba.data.corpora.tree import Tree
from audiomamba.data.labels import label_list
from audiomamba.data.manifest import Manifest
from audiomamba.errors import DataError

__all__ = ["find_lists", "read_lists", "split_of"]


def split_of(name: str) -> str:
    """Tell from a file's name which split of a corpus it holds.

    Args:
        name: the name.

    Returns:
        "test" (also for eval), "valid", "unbalanced", "balanced", else "train".
    """
    marks = {
        "eval": "test",
        "test": "test",
        "val": "valid",
        "unbal": "unbalanced",
        "bal": "balanced",
    }
    return next((split for mark, split in marks.items() if mark in name.lower()), "train")


def find_lists(tree: Tree) -> dict[str, list[Path]]:
    """Find the lists in a folder.

    Args:
        tree: the folder.

    Returns:
        The lists of each split.
    """
    found: dict[str, list[Path]] = {}
    for path in tree.files(".json"):
        with path.open("rb") as file:
            if b'"data"' in file.read(4096):
                found.setdefault(split_of(path.stem), []).append(path)
    return found


def read_lists(
    corpus: str, labels: str, tree: Tree, splits: Mapping[str, Sequence[Path]]
) -> Manifest:
    """List the clips of a corpus that comes as lists.

    Recordings are looked for where the list says, else below the folder by the end of that path,
    else by name.

    Args:
        corpus: name of the corpus.
        labels: its table in data/labels.
        tree: its folder.
        splits: the lists of each split.

    Returns:
        The clips, whether they are on disk or not.

    Raises:
        DataError: a list cannot be read or has another form.
    """
    known = label_list(labels)
    names = dict(zip(known.ids, known.names, strict=True))

    def clips() -> Iterator[Clip]:
        seen: set[Path] = set()
        for split, lists in splits.items():
            for path in lists:
                for row in _rows(path):
                    clip = _clip(path, row, split, tree, names)
                    if clip.path not in seen:  # the balanced list is a part of the whole one
                        seen.add(clip.path)
                        yield clip

    return Manifest(labels=known.names, clips=clips(), corpus=corpus)


def _rows(path: Path) -> list[dict[str, Any]]:
    """The entries of one list."""
    try:
        rows = json.loads(path.read_bytes())["data"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a list of clips; expected an object with data") from error
    if not isinstance(rows, list):
        raise DataError(f"{path}: data is no list")
    return rows


def _clip(
    path: Path, row: Mapping[str, Any], split: str, tree: Tree, names: Mapping[str, str]
) -> Clip:
    """One entry of a list."""
    try:
        ids = str(row["labels"]).split(",")
        recording = _locate(str(row["wav"]), path.parent, tree)
        labels = tuple([names[one] for one in ids])
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path}: an entry is {str(row)[:80]!r}; expected wav, and labels as ids of the corpus"
        ) from error
    group = recording.stem.removeprefix("Y")
    return Clip(path=recording, labels=labels, split=split, group=group)


def _locate(name: str, beside: Path, tree: Tree) -> Path:
    """The recording that a list means."""
    given = Path(name)
    tails = [Path(*given.parts[-n:]) for n in range(min(4, len(given.parts)), 0, -1)]
    candidates = [
        given if given.is_absolute() else beside / given,
        *(tree.folder / t for t in tails),
    ]
    for candidate in candidates:
        if os.path.isfile(candidate):  # noqa: PTH113 (millions of them)
            return candidate
    return Path(tree.recordings.get(given.stem, candidates[0]))
