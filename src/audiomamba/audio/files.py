"""Finding recordings in folders."""

import os
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from stat import S_ISDIR

from audiomamba.errors import AudioError

__all__ = ["SUFFIXES", "find", "walk"]

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
    return list(walk(paths, on_error=on_error))


def walk(
    paths: str | PathLike[str] | Iterable[str | PathLike[str]],
    *,
    on_error: Callable[[AudioError], None] | None = None,
) -> Iterator[Path]:
    """Go through recordings as find lists them; the names of a folder are held, not all paths.

    Args:
        paths: as for find.
        on_error: as for find.

    Yields:
        The files in the same order.

    Raises:
        AudioError: as find, when its turn comes.

    Examples:
        >>> next(walk("my-clips/rain")).as_posix()
        'my-clips/rain/1.wav'
    """
    several = [paths] if isinstance(paths, str | PathLike) else paths
    tell = on_error or _raise
    for path in several:
        yield from _expand(Path(path), tell)


def _expand(path: Path, tell: Callable[[AudioError], None]) -> Iterator[Path]:
    """The files that one path stands for."""
    try:
        is_folder = S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        tell(AudioError(f"{path}: no such file or folder"))
        return
    except (OSError, ValueError) as error:  # such as a name that is too long
        tell(AudioError(f"{path}: {(getattr(error, 'strerror', '') or str(error)).lower()}"))
        return
    if not is_folder:
        yield path
        return
    errors: list[OSError] = []
    has_audio = False
    for file in _audio_files(path, errors.append):
        has_audio = True
        yield file
    for one in errors:
        tell(AudioError(f"{one.filename}: {(one.strerror or 'cannot be read').lower()}"))
    if not (has_audio or errors):
        tell(AudioError(f"{path}: the folder has no audio files in it"))


def _audio_files(folder: Path, on_error: Callable[[OSError], None]) -> Iterator[Path]:
    """All audio files below the folder; hidden ones and what is no file, as a pipe, left out."""
    open_folders = [_named(folder, on_error)]
    while open_folders:
        path, is_folder = next(open_folders[-1], (None, False))
        if path is None:
            open_folders.pop()
        elif is_folder:
            open_folders.append(_named(path, on_error))
        elif path.is_file() or not path.exists():  # a broken link is named when it is read
            yield path


def _named(folder: Path, on_error: Callable[[OSError], None]) -> Iterator[tuple[Path | None, bool]]:
    """What is in a folder and may be audio, in order, and whether it is a folder itself."""
    names: dict[str, bool] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                is_folder = _is_folder(entry)
                is_audio = Path(entry.name).suffix.lower() in SUFFIXES
                is_link = is_folder and entry.is_symlink()  # is not followed, as it may lead back
                if not (entry.name.startswith(".") or is_link) and (is_folder or is_audio):
                    names[entry.name] = is_folder
    except OSError as error:
        on_error(error)
        return
    for name in sorted(names, key=os.path.normcase):
        yield folder / name, names[name]


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _raise(error: AudioError) -> None:
    raise error
