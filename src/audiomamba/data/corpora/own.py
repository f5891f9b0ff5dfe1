"""A data set of one's own: a CSV table, or a folder for every class."""

from pathlib import Path

from audiomamba import audio
from audiomamba.data.corpora.table import read_table
from audiomamba.data.corpus import Corpus
from audiomamba.data.manifest import Clip, Manifest
from audiomamba.errors import DataError

__all__ = ["OWN", "read", "read_csv", "read_folders"]

SPLITS = ("train", "valid", "test")
SEPARATOR = ";"


def read(source: Path) -> Manifest:
    """List the clips of a table or of a folder with one folder per class.

    Args:
        source: a CSV file, or a folder.

    Returns:
        The clips.

    Raises:
        DataError: the table or the folder is not laid out as expected.
    """
    return read_folders(source) if source.is_dir() else read_csv(source)


def read_csv(path: Path) -> Manifest:
    """List the clips of a CSV table.

    Columns: filename (relative to the table's folder); label, or labels with ";" between them;
    optional are split or fold, group (a speaker, a source: what must not be in two splits), start_s
    and end_s.

    Args:
        path: the table.

    Returns:
        The clips; classes in alphabetical order.

    Raises:
        DataError: a column is missing, or a cell is not what it should be.
    """
    rows = read_table(path, ["filename"])
    column = "labels" if rows and "labels" in rows[0] else "label"
    if rows and column not in rows[0]:
        raise DataError(f"{path}: no column label or labels; its columns: {', '.join(rows[0])}")
    clips = tuple(
        Clip(
            path=path.parent / row["filename"],
            labels=_labels(row[column]) if column == "labels" else (row["label"].strip(),),
            split=row.get("split") or row.get("fold") or None,
            start_s=_seconds(path, row.get("start_s", "")) or 0.0,
            end_s=_seconds(path, row.get("end_s", "")),
            group=row.get("group") or None,
        )
        for row in rows
    )
    names = {label for clip in clips for label in clip.labels}
    if "" in names:
        raise DataError(f"{path}: a clip has an empty label")
    return Manifest(labels=tuple(sorted(names)), clips=clips)


def read_folders(folder: Path) -> Manifest:
    """List the clips of a folder that has one folder per class.

    The folders of classes may also stand in folders named train, valid and test.

    Args:
        folder: the folder.

    Returns:
        The clips; classes in alphabetical order.

    Raises:
        DataError: there are no folders in it.
        AudioError: the folder of a class has no audio files in it.
    """
    names = [child.name for child in _folders(folder)]
    if not names:
        raise DataError(f"{folder}: no folders in it; expected one per class, or a CSV file")
    splits: list[tuple[str | None, Path]] = [(None, folder)]
    if set(names) <= set(SPLITS):
        splits = [(name, folder / name) for name in names]
    clips = tuple(
        Clip(path=path, labels=(child.name,), split=split)
        for split, home in splits
        for child in _folders(home)
        for path in audio.find([child])
    )
    return Manifest(labels=tuple(sorted({clip.labels[0] for clip in clips})), clips=clips)


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, hidden ones left out."""
    children = (child for child in folder.iterdir() if child.is_dir())
    return sorted(child for child in children if not child.name.startswith("."))


def _labels(cell: str) -> tuple[str, ...]:
    """The labels of one cell; none where it is empty."""
    return tuple(label.strip() for label in cell.split(SEPARATOR)) if cell.strip() else ()


def _seconds(path: Path, cell: str) -> float | None:
    """The number in a cell, None where it is empty."""
    if not cell.strip():
        return None
    try:
        return float(cell)
    except ValueError as error:
        raise DataError(f"{path}: {cell!r} is not a number of seconds") from error


OWN = Corpus(name="own", read=read)
