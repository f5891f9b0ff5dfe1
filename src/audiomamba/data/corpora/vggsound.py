"""VGGSound: excerpts of 10 s beside vggsound.csv (video, beginning in s, label, train or test).

JSON lists as AuM's authors write them are read where there is no such table.

Source: Chen et al., "VGGSound: A large-scale audio-visual dataset", 2020.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from audiomamba.audio.front_end import FrontEnd
from audiomamba.data.clips import Clip
from audiomamba.data.corpora.lists import find_lists, read_lists
from audiomamba.data.corpora.tree import Tree
from audiomamba.data.corpora.youtube import excerpt_names
from audiomamba.data.corpus import Corpus
from audiomamba.data.labels import label_list
from audiomamba.data.manifest import Manifest
from audiomamba.errors import DataError

__all__ = ["VGGSOUND", "read"]

TABLE = "vggsound.csv"
SPLITS = ("train", "test")
EXCERPT_S = 10


def read(folder: Path) -> Manifest:
    """List the clips of VGGSound.

    Args:
        folder: the folder that holds the table and, anywhere below it, audio or video files.

    Returns:
        The clips, whether they are on disk or not; a clip's group is the video.

    Raises:
        DataError: there is neither the table nor lists, or they are damaged.
    """
    tree = Tree(folder)
    table = tree.find(TABLE)
    if table is not None:
        return Manifest(
            labels=label_list("vggsound").names, clips=_clips(table, tree), corpus="vggsound"
        )
    lists = find_lists(tree)
    if lists:
        return read_lists("vggsound", "vggsound", tree, lists)
    raise DataError(f"{folder}: does not hold VGGSound; expected {TABLE}, or JSON lists")


def _clips(table: Path, tree: Tree) -> Iterator[Clip]:
    """The lines of the table."""
    with table.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if len(row) != 4 or row[3] not in SPLITS or not row[1].isdecimal():
                raise DataError(
                    f"{table}: line {number} is {','.join(row)[:80]!r}; "
                    "expected video, beginning in s, label, train or test"
                )
            video, start, label, split = row
            yield Clip(
                path=tree.recording(*excerpt_names(video, int(start), int(start) + EXCERPT_S)),
                labels=(label,),
                split=split,
                group=video,
            )


VGGSOUND = Corpus(
    name="vggsound",
    read=read,
    labels="vggsound",
    front_end=FrontEnd(mean=-5.0767093, std=4.4533687),
    scores="sigmoid",
)
