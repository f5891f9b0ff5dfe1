"""Folders that a call fills: what is in them stays, and a refused call leaves none behind."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from audiomamba.errors import AudioMambaError, ConfigError
from audiomamba.outputs import refuse_inputs, sole_writer, writing

__all__ = ["filled_by_one_call", "refuse_filled", "removed_if_refused", "visible_names"]

N_NAMED = 3


@contextmanager
def filled_by_one_call(
    folder: Path,
    inputs: Iterable[Path],
    is_begun: Callable[[], bool],
    *,
    beside: Iterable[str] = (),
) -> Iterator[None]:
    """Fill a folder that is new, or go on with one that the same kind of call has begun.

    Args:
        folder: the folder, which need not exist.
        inputs: what is read by the call.
        is_begun: tells whether there is something in it to go on with, or that is worth keeping.
        beside: as for refuse_filled.

    Yields:
        Nothing.

    Raises:
        ConfigError: it holds something else, cannot be written, is being written by another call,
            or is what is read.

    Examples:
        >>> with filled_by_one_call(Path("run"), [Path("my-clips")], Path("run/run.json").exists):
        ...     Path("run").mkdir()
        >>> with filled_by_one_call(Path("my-clips"), [], Path("my-clips/run.json").exists):
        ...     pass
        Traceback (most recent call last):
            ...
        audiomamba.errors.ConfigError: my-clips holds other things (dog, rain); another folder ...
    """
    with sole_writer(folder), removed_if_refused(folder, is_begun), writing(folder):
        refuse_inputs([folder], inputs)
        if not is_begun():
            refuse_filled(folder, beside=beside)
        yield


def visible_names(folder: Path) -> list[str]:
    """List what is in a folder, without hidden files and what was being written.

    Args:
        folder: the folder, which need not exist.

    Returns:
        Names, sorted; none for what is no folder.

    Examples:
        >>> visible_names(Path("my-clips"))
        ['dog', 'rain']
    """
    if not folder.is_dir():
        return []
    names = (path.name for path in folder.iterdir())
    return sorted(name for name in names if not name.startswith(".") and not name.endswith(".part"))


def refuse_filled(
    folder: Path, *, beside: Iterable[str] = (), overwrite: bool | None = None
) -> None:
    """Refuse to fill a folder in which there is something already.

    Args:
        folder: the folder, which need not exist.
        beside: names of what may be there.
        overwrite: whether other things may be there; None where nobody can ask for it.

    Raises:
        ConfigError: there is something else in it, or it is a file.

    Examples:
        >>> refuse_filled(Path("my-clips"))
        Traceback (most recent call last):
            ...
        audiomamba.errors.ConfigError: my-clips holds other things (dog, rain); another folder ...
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; expected a folder, or a name for a new one")
    found = sorted(set(visible_names(folder)) - set(beside))
    if found and not overwrite:
        more = f" and {len(found) - N_NAMED} more" if len(found) > N_NAMED else ""
        instead = "" if overwrite is None else ", --overwrite replaces what this call writes"
        raise ConfigError(
            f"{folder} holds other things ({', '.join(found[:N_NAMED])}{more}); another folder "
            f"keeps them{instead}"
        )


@contextmanager
def removed_if_refused(folder: Path, is_begun: Callable[[], bool] | None = None) -> Iterator[None]:
    """Remove what the block has put into a new or empty folder, if it ends with an error.

    An interruption leaves all as it is: the same call goes on with it.

    Args:
        folder: the folder, which need not exist.
        is_begun: tells whether there is something by now that is worth keeping; None for never.

    Yields:
        Nothing.

    Raises:
        AudioMambaError: what the block raised.

    Examples:
        >>> with removed_if_refused(Path("new")):
        ...     Path("new").mkdir()
        ...     raise ConfigError("minutes is -1")
        Traceback (most recent call last):
            ...
        audiomamba.errors.ConfigError: minutes is -1
        >>> Path("new").exists()
        False
    """
    was_there = folder.is_dir()
    was_empty = not was_there or not any(folder.iterdir())
    try:
        yield
    except AudioMambaError as error:
        is_interrupted = isinstance(error.__cause__, KeyboardInterrupt | SystemExit)
        if was_empty and not is_interrupted and not (is_begun and is_begun()):
            _empty(folder)
            if not was_there:
                with suppress(OSError):
                    folder.rmdir()
        raise


def _empty(folder: Path) -> None:
    """Remove what is in a folder, as far as that can be done."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
