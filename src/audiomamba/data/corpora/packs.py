"""HDF5 packs of waveforms as PANNs and HTS-AT keep AudioSet.

Datasets audio_name (clips,), waveform (clips, samples) of 16-bit integers or floats, target (clips,
classes), and the attribute sample_rate, which some versions leave out: they have 32 kHz.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from audiomamba.data.clips import Clip
from audiomamba.data.corpora.lists import split_of
from audiomamba.data.corpora.tree import Tree
from audiomamba.data.manifest import Manifest
from audiomamba.data.open_files import HDF5_SUFFIXES, open_hdf5
from audiomamba.errors import DataError

__all__ = ["find_packs", "read_packs"]

DATASETS = frozenset({"audio_name", "waveform", "target"})
USUAL_RATE_HZ = 32_000
BLOCK = 4096  # rows of label vectors that are read at a time


def find_packs(tree: Tree) -> dict[str, list[Path]]:
    """Find the packs in a folder.

    Args:
        tree: the folder.

    Returns:
        The packs of each split; indexes without waveforms are left out.

    Raises:
        AudioError: a file cannot be read.
        MissingDependencyError: h5py is not installed.
    """
    found: dict[str, list[Path]] = {}
    for path in tree.files(*sorted(HDF5_SUFFIXES)):
        if set(open_hdf5(path)) >= DATASETS:
            found.setdefault(split_of(path.stem), []).append(path)
    return found


def read_packs(
    corpus: str, labels: tuple[str, ...], splits: Mapping[str, Sequence[Path]]
) -> Manifest:
    """List the clips of packs.

    A row without a name was left empty by the tool that made the pack, because there was no
    recording; it is listed as a file that does not exist.

    Args:
        corpus: name of the corpus.
        labels: its classes, in the order of the label vectors.
        splits: the packs of each split.

    Returns:
        The clips.

    Raises:
        DataError: the label vectors have another length than the corpus's label list.
    """
    clips = (
        clip
        for split, paths in splits.items()
        for path in paths
        for clip in _rows(path, split, labels)
    )
    return Manifest(labels=labels, clips=clips, corpus=corpus)


def _rows(path: Path, split: str, names: tuple[str, ...]) -> Iterator[Clip]:
    """The clips of one pack."""
    file = open_hdf5(path)
    n_classes = file["target"].shape[-1]
    if n_classes != len(names):
        raise DataError(f"{path}: has {n_classes} classes; expected {len(names)}")
    rate_hz = int(file.attrs.get("sample_rate", USUAL_RATE_HZ))
    titles = file["audio_name"][:]
    for start in range(0, len(titles), BLOCK):
        targets = file["target"][start : start + BLOCK]
        for row, target in enumerate(targets, start):
            title = bytes(titles[row]).decode("utf-8", "replace").strip("\0 ")
            labels = tuple([names[index] for index in np.flatnonzero(target)])
            if not title:
                yield Clip(
                    path=path.with_name(f"{path.name}-row-{row}"), labels=labels, split=split
                )
                continue
            yield Clip(
                path=path,
                key=f"waveform/{row}",
                labels=labels,
                split=split,
                group=Path(title).stem.removeprefix("Y"),
                sample_rate=rate_hz,
            )
