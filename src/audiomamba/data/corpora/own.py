"""A data set of one's own: a CSV table, or a folder for every class."""

from pathlib import Path

from audiomamba.data.corpora.class_folders import read_folders
from audiomamba.data.corpora.sheet import read_sheet
from audiomamba.data.corpus import Corpus
from audiomamba.data.manifest import Manifest, check_spelling

__all__ = ["OWN", "read"]


def read(source: Path, leave_out: Path | None = None) -> Manifest:
    """List the clips of a table or of a folder with one folder per class.

    Args:
        source: a CSV file, or a folder.
        leave_out: as for read_folders.

    Returns:
        The clips.

    Raises:
        DataError: the table or the folder is not laid out as expected.
        AudioError: the folder of a class has no audio files in it.
    """
    manifest = read_folders(source, leave_out) if source.is_dir() else read_sheet(source)
    check_spelling(manifest.labels)
    return manifest


OWN = Corpus(name="own", read=read)
