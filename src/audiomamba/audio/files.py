"""Finding recordings in folders."""

import os
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from stat import S_ISDIR

from audiomamba.errors import AudioError

__all__ = ["SUFFIXES", "find"]

# fmt: off
SUFFIXES = frozenset({
    ".3gp", ".aac", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".avi", ".caf", ".flac",
    ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".oga",
    ".ogg", ".ogv", ".opus", ".snd", ".w64", ".wav", ".webm", ".wma", ".wmv", ".wv",
})
# fmt: on


def find(
    paths: str | PathLike[str] | Iterable[str | PathLike[str]],
    *,
    on_error: Callable[[AudioError], None] | None = None,
) -> list[Path]:
    """List recordings: files as they are given, folders searched for audio files.

    Folders are searched to any depth for names that end as audio and video files do (SUFFIXES, in
    either case); names that begin with a dot are left out.

    Args:
        paths: files and folders, or a single one.
        on_error: what to call with an error, so that the others are found; None to raise it.

    Returns:
        The files in the order given, those of one folder sorted.

    Raises:
        AudioError: a path does not exist, a folder cannot be read, or a folder has no audio in it.

    Examples:
        >>> [file.as_posix() for file in find("my-clips/rain")]
        ['my-clips/rain/1.wav', 'my-clips/rain/2.wav']
        >>> find(["my-clips/rain/1.wav", "my-clips/snow"], on_error=print)
        my-clips/snow: no such file or folder
        [...Path('my-clips/rain/1.wav')]
    """
    several = [paths] if isinstance(paths, str | PathLike) else paths
    tell = on_error or _raise
    return [file for path in several for file in _expand(Path(path), tell)]


def _expand(path: Path, tell: Callable[[AudioError], None]) -> list[Path]:
    """The files that one path stands for."""
    try:
        is_folder = S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        tell(AudioError(f"{path}: no such file or folder"))
        return []
    except (OSError, ValueError) as error:  # such as a name that is too long
        tell(AudioError(f"{path}: {(getattr(error, 'strerror', '') or str(error)).lower()}"))
        return []
    if not is_folder:
        return [path]
    errors: list[OSError] = []
    files = sorted(_audio_files(path, errors.append))
    for one in errors:
        tell(AudioError(f"{one.filename}: {(one.strerror or 'cannot be read').lower()}"))
    if not (files or errors):
        tell(AudioError(f"{path}: the folder has no audio files in it"))
    return files


def _audio_files(folder: Path, on_error: Callable[[OSError], None]) -> Iterator[Path]:
    """All audio files below the folder; hidden ones and what is no file, as a pipe, left out."""
    for parent, folders, names in os.walk(folder, onerror=on_error):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if name.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            if path.is_file() or not path.exists():  # a broken link is named when it is read
                yield path


def _raise(error: AudioError) -> None:
    raise error
