"""The recordings that a command is called with."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from audiomamba.errors import AudioError
from audiomamba.terminal import print_error

__all__ = ["Recordings", "find_files"]

Recordings = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE|DIR...",
        show_default=False,
        help="Recordings, and folders that are searched for recordings to any depth.",
    ),
]


def find_files(recordings: Iterable[Path], *, keep_missing: bool = False) -> tuple[list[Path], int]:
    """Find the recordings; an argument that leads to none is named on stderr.

    Args:
        recordings: files and folders.
        keep_missing: whether what does not exist counts as a file, which then cannot be read.

    Returns:
        The files, and how many arguments led to none.
    """
    from audiomamba import audio

    files: list[Path] = []
    n_failed = 0
    for path in recordings:
        if keep_missing and not path.exists():
            files.append(path)
            continue
        try:
            files += audio.find([path])
        except AudioError as error:
            print_error(error)
            n_failed += 1
    return files, n_failed
