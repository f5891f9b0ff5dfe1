"""How the command line prints: columns, numbers, complaints, progress."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import typer

from audiomamba.errors import AudioMambaError, ConfigError

__all__ = ["columns", "complain", "number", "output", "progress_bar"]


def complain(error: AudioMambaError) -> None:
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
def progress_bar(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr, if that is a terminal and there is something to wait for.

    Args:
        what: what is going on, in a word.
        total: how many steps there are.

    Yields:
        What to call after each step.
    """
    if total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


def columns(rows: Iterable[Sequence[str]], align: str) -> str:
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


def number(value: float | None) -> str:
    """Write a figure.

    Args:
        value: the figure.

    Returns:
        Whole numbers whole, others with three decimals or, if small, three digits; "-" for None.
    """
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.3g}" if abs(value) < 0.001 else f"{value:.3f}"
