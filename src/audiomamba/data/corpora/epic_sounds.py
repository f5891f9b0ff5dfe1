"""EPIC-SOUNDS: annotations as CSV and the videos' sound, an HDF5 file of 24 kHz or one file each.

EPIC_Sounds_train.csv and EPIC_Sounds_validation.csv say what is heard when in which video; the HDF5
file holds one dataset per video. The test set's labels are not published.

Source: Huh et al., "EPIC-SOUNDS: A large-scale dataset of actions that sound", 2023.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from audiomamba.audio.front_end import FrontEnd
from audiomamba.data.clips import Clip
from audiomamba.data.corpora.table import read_table
from audiomamba.data.corpora.tree import Tree
from audiomamba.data.corpus import Corpus
from audiomamba.data.labels import label_list
from audiomamba.data.manifest import Manifest
from audiomamba.data.open_files import HDF5_SUFFIXES, open_hdf5
from audiomamba.errors import DataError

__all__ = ["EPIC_SOUNDS", "read"]

TABLES = {"EPIC_Sounds_train": "train", "EPIC_Sounds_validation": "valid"}
COLUMNS = ("video_id", "start_timestamp", "stop_timestamp", "class_id")
RATE_HZ = 24_000


def read(folder: Path) -> Manifest:
    """List the annotated sounds of EPIC-SOUNDS.

    Args:
        folder: the folder that holds the annotations and, anywhere below it, the sound.

    Returns:
        The clips, whether they are on disk or not; a clip's group is the video.

    Raises:
        DataError: a table is missing or damaged.
        AudioError: an HDF5 file cannot be read.
        MissingDependencyError: there is an HDF5 file and h5py is not installed.
    """
    tree = Tree(folder)
    tables = {_table(tree, name): split for name, split in TABLES.items()}
    packs = tree.files(*sorted(HDF5_SUFFIXES))
    home_of = {video: path for path in packs for video in open_hdf5(path)}
    clips = (
        clip for table, split in tables.items() for clip in _clips(table, split, tree, home_of)
    )
    return Manifest(labels=label_list("epic_sounds").names, clips=clips, corpus="epic_sounds")


def _table(tree: Tree, name: str) -> Path:
    """The path of one table."""
    path = tree.find(f"{name}.csv")
    if path is not None:
        return path
    instead = (
        f" (there is a {name}.pkl, but to open a pickle can run code; "
        "take the CSV of the same annotations, which is published beside it)"
    )
    hint = instead if tree.find(f"{name}.pkl") else ""
    raise DataError(f"{tree.folder}: does not hold EPIC-SOUNDS; expected {name}.csv{hint}")


def _clips(table: Path, split: str, tree: Tree, home_of: Mapping[str, Path]) -> Iterator[Clip]:
    """The lines of one table."""
    names = label_list("epic_sounds").names
    for row in read_table(table, COLUMNS):
        number = row.line
        video, label = row["video_id"], row["class_id"]
        if not label.isdecimal() or int(label) >= len(names):
            raise DataError(f"{table}: line {number} has class_id {label!r}; expected 0 to 43")
        packed = video in home_of
        yield Clip(
            path=home_of[video] if packed else tree.recording(video),
            key=video if packed else "",
            labels=(names[int(label)],),
            split=split,
            start_s=_seconds(table, number, row["start_timestamp"]),
            end_s=_seconds(table, number, row["stop_timestamp"]),
            group=video,
            sample_rate=RATE_HZ if packed else None,
        )


def _seconds(table: Path, number: int, text: str) -> float:
    """A time, hours:minutes:seconds, in seconds."""
    try:
        hours, minutes, seconds = text.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError as error:
        raise DataError(f"{table}: line {number} has the time {text!r}; expected H:M:S") from error


EPIC_SOUNDS = Corpus(
    name="epic_sounds",
    read=read,
    labels="epic_sounds",
    front_end=FrontEnd(
        kind="epic_sounds",
        sample_rate=RATE_HZ,
        frame_length_ms=10.0,
        frame_shift_ms=5.0,
        low_hz=0.0,
        mean=None,
        std=None,
    ),
    license="CC BY-NC 4.0",
)
