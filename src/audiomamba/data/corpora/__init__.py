"""Data sets that are read from disk, one file per corpus or layout."""

from collections.abc import Mapping
from pathlib import Path

from audiomamba.data.corpora import own
from audiomamba.data.corpora.audioset import AUDIOSET, AUDIOSET_20K
from audiomamba.data.corpora.epic_sounds import EPIC_SOUNDS
from audiomamba.data.corpora.esc50 import ESC10, ESC50
from audiomamba.data.corpora.esc50 import TABLE as ESC50_TABLE
from audiomamba.data.corpora.own import OWN
from audiomamba.data.corpora.speech_commands import SPEECH_COMMANDS
from audiomamba.data.corpora.vggsound import VGGSOUND
from audiomamba.data.corpora.voxceleb1 import VOXCELEB1
from audiomamba.data.corpus import Corpus
from audiomamba.data.manifest import Manifest
from audiomamba.data.manifest_file import find_manifest, read_manifest
from audiomamba.errors import DataError, UnknownNameError

__all__ = [
    "CORPORA",
    "corpus_with",
    "get_corpus",
    "guess_corpus",
    "list_clips",
    "open_manifest",
]


CORPORA: Mapping[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        AUDIOSET,
        AUDIOSET_20K,
        EPIC_SOUNDS,
        ESC10,
        ESC50,
        OWN,
        SPEECH_COMMANDS,
        VGGSOUND,
        VOXCELEB1,
    )
}


def get_corpus(name: str) -> Corpus:
    """Return what is known of a corpus.

    Args:
        name: one of CORPORA, or another spelling of it.

    Returns:
        The corpus.

    Raises:
        UnknownNameError: there is no such corpus.

    Examples:
        >>> get_corpus("voxceleb").name
        'voxceleb1'
    """
    for corpus in CORPORA.values():
        if name in (corpus.name, *corpus.also):
            return corpus
    raise UnknownNameError("corpus", name, CORPORA)


def corpus_with(n_classes: int) -> Corpus | None:
    """Guess a corpus by how many classes it has.

    Args:
        n_classes: outputs of a model.

    Returns:
        The first whose list of labels is as long; None if there is none.

    Examples:
        >>> corpus_with(527).name
        'audioset'
    """
    listed = ((corpus, corpus.label_list) for corpus in CORPORA.values())
    return next((it for it, labels in listed if labels and len(labels.ids) == n_classes), None)


def list_clips(source: Path, corpus: str, *, leave_out: Path | None = None) -> Manifest:
    """List the clips that a data set should have, whether they are there or not.

    Args:
        source: the data set's folder, or the CSV file of a data set of one's own.
        corpus: one of CORPORA.
        leave_out: a folder that is no class of a data set of one's own: where results go.

    Returns:
        The manifest, not checked.

    Raises:
        UnknownNameError: there is no such corpus.
        DataError: nothing is there, or it has another layout.
        AudioError: a folder or an HDF5 file cannot be read.
        MissingDependencyError: the corpus is in HDF5 files and h5py is not installed.

    Examples:
        >>> manifest = list_clips(Path("my-clips"), "own")  # a folder with the folders dog and rain
        >>> manifest.labels, len(manifest.clips)
        (('dog', 'rain'), 4)
    """
    known = get_corpus(corpus)
    if not source.exists():
        raise DataError(f"{source}: no such file or folder; expected the data set {known.name}")
    return own.read(source, leave_out) if known is OWN else known.read(source)


def open_manifest(
    source: Path,
    corpus: str | None = None,
    *,
    leave_out: Path | None = None,
    check_files: bool = True,
) -> Manifest:
    """Read the list of a data set's clips and check it.

    Args:
        source: a manifest that `audiomamba data prepare` or `audiomamba data shard` wrote, or its
            folder; else the data set's folder, or the CSV file of a data set of one's own.
        corpus: one of CORPORA; None to go by what is there: a manifest says it, meta/esc50.csv
            means ESC-50, anything else a data set of one's own.
        leave_out: as for list_clips.
        check_files: whether a clip whose recording is missing or empty is refused.

    Returns:
        The checked manifest.

    Raises:
        UnknownNameError: there is no such corpus.
        DataError: nothing is there, it is another corpus or has another layout, or the list is not
            consistent.
        AudioError: a folder or an HDF5 file cannot be read.
        MissingDependencyError: the corpus is in HDF5 files and h5py is not installed.

    Examples:
        >>> manifest = open_manifest(Path("my-clips"))  # a folder with the folders dog and rain
        >>> manifest.index["rain"], manifest.clips[0].labels
        (1, ('dog',))
    """
    path = find_manifest(source)
    if path is None:
        manifest = list_clips(source, corpus or guess_corpus(source), leave_out=leave_out)
    else:
        manifest = read_manifest(path)
        _check_corpus(path, manifest.corpus, corpus)
    manifest.check(files=check_files)
    return manifest


def guess_corpus(source: Path) -> str:
    """Tell which corpus a folder seems to hold.

    Args:
        source: a data set's folder or table.

    Returns:
        "esc50", or "own" for anything else.

    Examples:
        >>> guess_corpus(Path("my-clips"))
        'own'
    """
    return "esc50" if (source / ESC50_TABLE).is_file() else "own"


def _check_corpus(path: Path, found: str | None, wanted: str | None) -> None:
    """Refuse the manifest of another corpus; a recipe for clips of one's own takes all."""
    if wanted is None:
        return
    known = get_corpus(wanted)
    if known is OWN or found in (known.name, *known.also):
        return
    raise DataError(
        f"{path}: a manifest of {found or 'a data set of your own'}; expected {known.name}, which "
        f"`audiomamba data prepare {known.name}` makes"
    )
