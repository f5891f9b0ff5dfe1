"""Data sets that are read from disk, one file per layout."""

from collections.abc import Callable, Mapping
from pathlib import Path

from audiomamba.data.corpora import esc50, own
from audiomamba.data.manifest import Manifest
from audiomamba.errors import DataError, UnknownNameError

__all__ = ["CORPORA", "open_manifest"]

CORPORA: Mapping[str, Callable[[Path], Manifest]] = {
    "esc10": esc50.read_esc10,
    "esc50": esc50.read,
    "own": own.read,
}


def open_manifest(source: Path, corpus: str | None = None) -> Manifest:
    """Read the list of a data set's clips and check it.

    Args:
        source: the data set's folder, or the CSV file of a data set of one's own.
        corpus: one of CORPORA; None to go by what is there: meta/esc50.csv means ESC-50, anything
            else a data set of one's own.

    Returns:
        The checked manifest.

    Raises:
        UnknownNameError: there is no such corpus.
        DataError: nothing is there, it has another layout, or the list is not consistent.
    """
    if corpus is None:
        corpus = "esc50" if (source / esc50.TABLE).is_file() else "own"
    if corpus not in CORPORA:
        raise UnknownNameError("corpus", corpus, CORPORA)
    if not source.exists():
        raise DataError(f"{source}: no such file or folder; expected the data set {corpus}")
    manifest = CORPORA[corpus](source)
    manifest.check()
    return manifest
