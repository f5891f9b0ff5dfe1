"""Data sets that are read from disk, one file per corpus or layout."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from audiomamba.data.manifest import Manifest
from audiomamba.data.manifest_file import find_manifest, read_manifest
from audiomamba.errors import DataError, UnknownNameError

__all__ = ["CORPORA", "guess_corpus", "list_clips", "open_manifest"]

ESC50_TABLE = Path("meta", "esc50.csv")


def _reader(module: str, function: str = "read") -> Callable[[Path], Manifest]:
    """The function that lists a corpus, whose file is loaded when it is called."""

    def read(folder: Path) -> Manifest:
        home = import_module(f"audiomamba.data.corpora.{module}")
        manifest: Manifest = getattr(home, function)(folder)
        return manifest

    return read


CORPORA: Mapping[str, Callable[[Path], Manifest]] = {
    "audioset": _reader("audioset"),
    "audioset20k": _reader("audioset", "read_balanced"),
    "epic_sounds": _reader("epic_sounds"),
    "esc10": _reader("esc50", "read_esc10"),
    "esc50": _reader("esc50"),
    "own": _reader("own"),
    "speech_commands": _reader("speech_commands"),
    "vggsound": _reader("vggsound"),
    "voxceleb1": _reader("voxceleb1"),
}


def list_clips(source: Path, corpus: str) -> Manifest:
    """List the clips that a data set should have, whether they are there or not.

    Args:
        source: the data set's folder, or the CSV file of a data set of one's own.
        corpus: one of CORPORA.

    Returns:
        The manifest, not checked.

    Raises:
        UnknownNameError: there is no such corpus.
        DataError: nothing is there, or it has another layout.
        AudioError: a folder or an HDF5 file cannot be read.
        MissingDependencyError: the corpus is in HDF5 files and h5py is not installed.
    """
    if corpus not in CORPORA:
        raise UnknownNameError("corpus", corpus, CORPORA)
    if not source.exists():
        raise DataError(f"{source}: no such file or folder; expected the data set {corpus}")
    return CORPORA[corpus](source)


def open_manifest(source: Path, corpus: str | None = None) -> Manifest:
    """Read the list of a data set's clips and check it.

    Args:
        source: a manifest that `audiomamba data prepare` or `audiomamba data shard` wrote, or its
            folder; else the data set's folder, or the CSV file of a data set of one's own.
        corpus: one of CORPORA; None to go by what is there: a manifest says it, meta/esc50.csv
            means ESC-50, anything else a data set of one's own.

    Returns:
        The checked manifest.

    Raises:
        UnknownNameError: there is no such corpus.
        DataError: nothing is there, it is another corpus or has another layout, or the list is not
            consistent.
        AudioError: a folder or an HDF5 file cannot be read.
        MissingDependencyError: the corpus is in HDF5 files and h5py is not installed.
    """
    path = find_manifest(source)
    if path is None:
        manifest = list_clips(source, corpus or guess_corpus(source))
    else:
        manifest = read_manifest(path)
        _check_corpus(path, manifest.corpus, corpus)
    manifest.check()
    return manifest


def guess_corpus(source: Path) -> str:
    """Tell which corpus a folder seems to hold.

    Args:
        source: a data set's folder or table.

    Returns:
        "esc50", or "own" for anything else.
    """
    return "esc50" if (source / ESC50_TABLE).is_file() else "own"


def _check_corpus(path: Path, found: str | None, wanted: str | None) -> None:
    """Refuse the manifest of another corpus; a recipe for clips of one's own takes all."""
    if wanted is not None and wanted not in CORPORA:
        raise UnknownNameError("corpus", wanted, CORPORA)
    if wanted in (None, "own") or found == wanted:
        return
    raise DataError(
        f"{path}: a manifest of {found or 'a data set of your own'}; expected {wanted}, which "
        f"`audiomamba data prepare {wanted}` makes"
    )
