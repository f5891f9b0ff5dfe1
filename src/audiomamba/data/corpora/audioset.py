"""AudioSet from local files, in the layouts that are usual.

The first of these that is there is used:

1. recordings, any folders, and the published tables of segments (balanced_train_segments.csv,
   unbalanced_train_segments.csv, eval_segments.csv);
2. JSON lists as AST's and AuM's authors write them;
3. HDF5 packs of waveforms as PANNs and HTS-AT keep them.

Both training tables together are "train" of audioset; the balanced one alone is that of
audioset20k. The evaluation segments are "test". A clip's group is the video.

Source: Gemmeke et al., "Audio Set: An ontology and human-labeled dataset for audio events", 2017.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from audiomamba.data.clips import Clip
from audiomamba.data.corpora.lists import find_lists, read_lists
from audiomamba.data.corpora.packs import find_packs, read_packs
from audiomamba.data.corpora.tree import Tree
from audiomamba.data.corpora.youtube import excerpt_names
from audiomamba.data.corpus import Corpus
from audiomamba.data.labels import label_list
from audiomamba.data.manifest import Manifest
from audiomamba.errors import DataError

__all__ = ["AUDIOSET", "AUDIOSET_20K", "read", "read_balanced"]

LABELS = "audioset"
BALANCED = {"balanced_train_segments": "train", "eval_segments": "test"}
ALL = {"unbalanced_train_segments": "train", **BALANCED}


def read(folder: Path) -> Manifest:
    """List the clips of AudioSet.

    Args:
        folder: the folder that holds it.

    Returns:
        The clips, whether they are on disk or not.

    Raises:
        DataError: the folder has none of the layouts, or a table or list is damaged.
        AudioError: an HDF5 file cannot be read.
        MissingDependencyError: there are HDF5 packs and h5py is not installed.
    """
    return _read(folder, "audioset", ALL)


def read_balanced(folder: Path) -> Manifest:
    """List the clips of AudioSet with the balanced training set only.

    Args:
        folder: the folder that holds it.

    Returns:
        The clips, whether they are on disk or not.

    Raises:
        DataError: the folder has none of the layouts, or a table or list is damaged.
        AudioError: an HDF5 file cannot be read.
        MissingDependencyError: there are HDF5 packs and h5py is not installed.
    """
    return _read(folder, "audioset20k", BALANCED)


def _read(folder: Path, corpus: str, tables: Mapping[str, str]) -> Manifest:
    """List the clips of one of the two sizes."""
    tree = Tree(folder)
    found = {path: split for name, split in tables.items() if (path := tree.find(f"{name}.csv"))}
    if found and tree.recordings:
        missing = [f"{name}.csv" for name in tables if tree.find(f"{name}.csv") is None]
        if missing:
            raise DataError(f"{folder}: no {', '.join(missing)}; expected the tables of all splits")
        return _read_tables(corpus, tree, found)
    if lists := _splits(find_lists(tree), corpus):
        return read_lists(corpus, LABELS, tree, lists)
    if packs := _splits(find_packs(tree), corpus):
        return read_packs(corpus, label_list(LABELS).names, packs)
    raise DataError(
        f"{folder}: does not hold AudioSet; expected recordings with "
        f"{', '.join(f'{name}.csv' for name in tables)}, JSON lists, or HDF5 packs of waveforms"
    )


def _splits(found: Mapping[str, list[Path]], corpus: str) -> dict[str, list[Path]]:
    """The files of "train" and "test", if there are both."""
    train = found.get("balanced", [])
    if corpus == "audioset":
        train = found.get("train") or [*train, *found.get("unbalanced", [])]
    test = found.get("test") or found.get("valid", [])
    return {"train": train, "test": test} if train and test else {}


def _read_tables(corpus: str, tree: Tree, tables: Mapping[Path, str]) -> Manifest:
    """List the clips of the published tables."""
    labels = label_list(LABELS)
    names = dict(zip(labels.ids, labels.names, strict=True))

    def clips() -> Iterator[Clip]:
        for path, split in tables.items():
            for video, start_s, end_s, ids in _segments(path):
                unknown = [one for one in ids if one not in names]
                if unknown:
                    raise DataError(f"{path}: {video} has the label {unknown[0]!r}, not AudioSet's")
                yield Clip(
                    path=tree.recording(*excerpt_names(video, start_s, end_s)),
                    labels=tuple([names[one] for one in ids]),
                    split=split,
                    group=video,
                )

    return Manifest(labels=labels.names, clips=clips(), corpus=corpus)


def _segments(path: Path) -> Iterator[tuple[str, float, float, list[str]]]:
    """The lines of one table: video, beginning, end, ids of labels."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file, skipinitialspace=True):
            if not row or row[0].startswith("#"):
                continue
            try:
                video, start_s, end_s, ids = row
                yield video, float(start_s), float(end_s), ids.split(",")
            except ValueError as error:
                line = ",".join(row)[:80]
                raise DataError(
                    f"{path}: a line is {line!r}; expected video, beginning, end, labels"
                ) from error


AUDIOSET = Corpus(name="audioset", read=read, labels=LABELS, scores="sigmoid", metric="mAP")
AUDIOSET_20K = replace(AUDIOSET, name="audioset20k", read=read_balanced, also=("audioset_20k",))
