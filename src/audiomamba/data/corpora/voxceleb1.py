"""VoxCeleb1, identification of speakers: SPEAKER/VIDEO/NUMBER.wav and the published iden_split.txt.

The folders of the speakers may stand in the folder itself, or in wav, dev/wav and test/wav, or in
what the archives unpack to.

Source: Nagrani et al., "VoxCeleb: a large-scale speaker identification dataset", 2017.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from audiomamba.audio.front_end import FrontEnd
from audiomamba.data.clips import Clip
from audiomamba.data.corpora.lists import find_lists, read_lists
from audiomamba.data.corpora.tree import Tree
from audiomamba.data.corpus import Corpus
from audiomamba.data.labels import label_list
from audiomamba.data.manifest import Manifest
from audiomamba.errors import DataError

__all__ = ["VOXCELEB1", "read"]

TABLE = "iden_split.txt"
SPLITS = {"1": "train", "2": "valid", "3": "test"}
SPEAKER = re.compile(r"id1\d{4}")
DEPTH = 3  # folders between the corpus's own and those of the speakers


def read(folder: Path) -> Manifest:
    """List the utterances of VoxCeleb1 for identification.

    Args:
        folder: the folder that holds the table and the recordings.

    Returns:
        The clips, whether they are on disk or not; a clip's group is the video.

    Raises:
        DataError: there is neither the table nor lists, or they are damaged.
    """
    labels = label_list("voxceleb1").names
    table = next(
        (path for path in (folder / TABLE, *folder.glob(f"*/{TABLE}")) if path.is_file()), None
    )
    if table is not None:
        clips = _clips(table, folder, _homes(folder, DEPTH))
        return Manifest(labels=labels, clips=clips, corpus="voxceleb1")
    tree = Tree(folder)
    lists = find_lists(tree)
    if lists:
        return read_lists("voxceleb1", "voxceleb1", tree, lists)
    raise DataError(f"{folder}: does not hold VoxCeleb1; expected {TABLE}, or JSON lists")


def _homes(folder: Path, depth: int) -> dict[str, Path]:
    """The folder in which each speaker's folder stands."""
    homes: dict[str, Path] = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not entry.is_dir():
            continue
        if SPEAKER.fullmatch(entry.name):
            homes[entry.name] = folder
        elif depth > 1:
            homes |= _homes(Path(entry.path), depth - 1)
    return homes


def _clips(table: Path, folder: Path, homes: dict[str, Path]) -> Iterator[Clip]:
    """The lines of the table."""
    with table.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            split, _, name = line.strip().partition(" ")
            speaker, _, rest = name.partition("/")
            if split not in SPLITS or rest.count("/") != 1:
                raise DataError(
                    f"{table}: line {number} is {line.strip()[:80]!r}; "
                    "expected 1, 2 or 3 and SPEAKER/VIDEO/NUMBER.wav"
                )
            yield Clip(
                path=homes.get(speaker, folder) / name,
                labels=(speaker,),
                split=SPLITS[split],
                group=name.rpartition("/")[0],
            )


VOXCELEB1 = Corpus(
    name="voxceleb1",
    read=read,
    labels="voxceleb1",
    front_end=FrontEnd(mean=-3.7614744, std=4.2011642),
    also=("voxceleb",),
)
