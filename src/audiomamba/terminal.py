"""How the command line prints: tables, numbers, errors, progress."""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self, TypeVar

import typer

from audiomamba.errors import AudioMambaError, ConfigError

__all__ = [
    "Interruptible",
    "counter",
    "format_number",
    "format_table",
    "output",
    "print_error",
    "progress_bar",
]

Item = TypeVar("Item")


def print_error(error: AudioMambaError) -> None:
    """Print an error as one line on stderr.

    Args:
        error: what went wrong.
    """
    typer.echo(f"audiomamba: {' '.join(str(error).split())}", err=True)


@contextmanager
def output(out: Path | None) -> Iterator[IO[str]]:
    """Open what results are written to as they come.

    Args:
        out: a file, which is overwritten; None for stdout.

    Yields:
        The open file.

    Raises:
        ConfigError: the file cannot be written.
    """
    if out is None:
        yield sys.stdout
        return
    try:
        file = out.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def progress_bar(
    what: str, total: int, note: Callable[[], str] = str
) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr, if that is a terminal and there is something to wait for.

    Args:
        what: what is going on, in a word.
        total: how many steps there are.
        note: what to say beside the bar, asked after each step; nothing by default.

    Yields:
        What to call after each step.
    """
    if total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        task = progress.add_task(what, total=total, note="")
        yield lambda: progress.update(task, advance=1, note=note())


@contextmanager
def counter(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show on stderr how much of something is done, if that is a terminal.

    Args:
        what: what is going on, in a word.
        unit: what is counted: "bytes", which are shown in larger units, or what there is.

    Yields:
        What to call with the number of units that are done, and of all.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import (
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    amount = [DownloadColumn()] if unit == "bytes" else [MofNCompleteColumn(), TextColumn(unit)]
    with Progress(
        *Progress.get_default_columns()[:2],
        *amount,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class Interruptible(Iterator[Item]):
    """Items until there are no more, or until Ctrl-C, which ends them as if there were no more.

    What is going on with an item goes on to its end; only waiting for the next one is broken off.

    Args:
        items: what to go through.
    """

    def __init__(self, items: Iterator[Item]) -> None:
        self.interrupted = False
        self._items, self._waiting = items, False

    def __enter__(self) -> Self:
        self._handler = signal.getsignal(signal.SIGINT)
        if self._handler is not signal.SIG_IGN:  # as of a process in the background
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._handler)

    def __next__(self) -> Item:
        if self.interrupted:
            raise StopIteration
        self._waiting = True
        try:
            return next(self._items)
        except KeyboardInterrupt:
            raise StopIteration from None
        finally:
            self._waiting = False

    def _interrupt(self, *_: object) -> None:
        """What Ctrl-C calls."""
        self.interrupted = True
        if self._waiting:
            raise KeyboardInterrupt


def format_table(rows: Iterable[Sequence[str]], align: str) -> str:
    """Align the columns of a table.

    Args:
        rows: the cells, equally many in each row.
        align: "<" for left or ">" for right, one per column.

    Returns:
        One line per row, each ended by a newline.
    """
    table = list(rows)
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    lines = (
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True)
        ).rstrip()
        for row in table
    )
    return "".join(f"{line}\n" for line in lines)


def format_number(value: float | None) -> str:
    """Write a number.

    Args:
        value: the number; None where there is none.

    Returns:
        Whole numbers whole, others with three decimals or, if small, three digits; "-" for None.
    """
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.3g}" if abs(value) < 0.001 else f"{value:.3f}"
