"""The recordings that a command is called with."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from audiomamba.errors import AudioError
from audiomamba.terminal import print_error

__all__ = ["Overwrite", "Recordings", "find_files", "inputs_of"]

Recordings = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE|DIR...",
        show_default=False,
        help="Recordings, and folders that are searched for recordings to any depth.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that are there already.")
]


def find_files(recordings: Iterable[Path], *, keep_missing: bool = False) -> tuple[list[Path], int]:
    """Find the recordings; what cannot be searched and what leads to none is named on stderr.

    Args:
        recordings: files and folders.
        keep_missing: whether what does not exist counts as a file, which then cannot be read.

    Returns:
        The files, and how many arguments led to none or folders in them could not be searched.
    """
    from audiomamba import audio

    files: list[Path] = []
    failed: list[AudioError] = []

    def tell(error: AudioError) -> None:
        print_error(error)
        failed.append(error)

    for path in recordings:
        if keep_missing and not path.exists():
            files.append(path)
        else:
            files += audio.find([path], on_error=tell)
    return files, len(failed)


def inputs_of(files: Iterable[Path], model: Path, labels: Path | None = None) -> Iterator[Path]:
    """List everything that a command reads, which no output may replace.

    Args:
        files: the recordings.
        model: the model's folder.
        labels: the option --labels.

    Yields:
        Files and folders.
    """
    yield from files
    yield model
    yield from model.iterdir()
    if labels is not None:
        yield labels
