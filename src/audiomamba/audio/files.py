"""Finding recordings in folders."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from audiomamba.errors import AudioError

__all__ = ["SUFFIXES", "find"]

# fmt: off
SUFFIXES = frozenset({
    ".3gp", ".aac", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".avi", ".caf", ".flac",
    ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".oga",
    ".ogg", ".ogv", ".opus", ".snd", ".w64", ".wav", ".webm", ".wma", ".wmv", ".wv",
})
# fmt: on


def find(paths: Iterable[str | Path]) -> list[Path]:
    """List recordings: files as they are given, folders searched for audio files.

    Folders are searched to any depth for names that end as audio and video files do (SUFFIXES, in
    either case); names that begin with a dot are left out.

    Args:
        paths: files and folders.

    Returns:
        The files in the order given, those of one folder sorted.

    Raises:
        AudioError: a path does not exist, a folder cannot be read, or a folder has no audio in it.

    Examples:
        >>> [file.as_posix() for file in find(["my-clips/rain"])]
        ['my-clips/rain/1.wav', 'my-clips/rain/2.wav']
    """
    return [file for path in paths for file in _expand(Path(path))]


def _expand(path: Path) -> list[Path]:
    """The files that one path stands for."""
    if not path.exists():
        raise AudioError(f"{path}: no such file or folder")
    if not path.is_dir():
        return [path]
    files = sorted(_audio_files(path))
    if not files:
        raise AudioError(f"{path}: the folder has no audio files in it")
    return files


def _audio_files(folder: Path) -> Iterator[Path]:
    """All audio files below the folder, hidden ones left out."""
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield Path(parent, name)


def _refuse(error: OSError) -> None:
    raise AudioError(f"{error.filename}: {(error.strerror or 'cannot be read').lower()}") from error
