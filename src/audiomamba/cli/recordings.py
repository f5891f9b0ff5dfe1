"""The recordings that a command is called with."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from audiomamba.errors import AudioError
from audiomamba.terminal import print_error

__all__ = ["FoundFiles", "Overwrite", "Recordings", "find_files", "inputs_of"]

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


class FoundFiles(Iterable[Path]):
    """The recordings, found one by one; what leads to none is named on stderr.

    Args:
        recordings: files and folders.
        keep_missing: whether what does not exist counts as a file, which then cannot be read.
    """

    def __init__(self, recordings: Iterable[Path], *, keep_missing: bool = False) -> None:
        self._recordings, self._keep_missing = recordings, keep_missing
        self.n_failed = 0  # arguments that led to none so far, and folders not searched

    def __iter__(self) -> Iterator[Path]:
        from audiomamba.audio.files import walk

        for path in self._recordings:
            if self._keep_missing and not path.exists():
                yield path
            else:
                yield from walk([path], on_error=self._tell)

    def _tell(self, error: AudioError) -> None:
        print_error(error)
        self.n_failed += 1


def find_files(recordings: Iterable[Path]) -> tuple[list[Path], int]:
    """Find the recordings; what cannot be searched and what leads to none is named on stderr.

    Args:
        recordings: files and folders.

    Returns:
        The files, and how many arguments led to none or folders in them could not be searched.
    """
    found = FoundFiles(recordings)
    return list(found), found.n_failed


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
