"""Lines of text: CSV, JSON, lengths and times for readers."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiomamba.infer.results import Row

__all__ = ["clock_text", "csv_line", "json_line", "length_text", "shortened"]


def json_line(row: "Row") -> str:
    """Write a row as a line of JSON.

    Args:
        row: as a result's to_dict gives it.

    Returns:
        The line, ended by a newline.
    """
    import json

    return json.dumps(row, ensure_ascii=False) + "\n"


def csv_line(cells: Iterable[object]) -> str:
    """Write cells as a line of CSV.

    Args:
        cells: texts and numbers; None is empty, True and False are true and false, as in JSON.

    Returns:
        The line, ended by a newline.
    """
    import csv
    import io

    text = io.StringIO()
    written = (str(cell).lower() if isinstance(cell, bool) else cell for cell in cells)
    csv.writer(text, lineterminator="\n").writerow(written)
    return text.getvalue()


def length_text(seconds: float) -> str:
    """Write a length as 0.42 s, 12.3 s, 4:05 or 1:02:05.

    Args:
        seconds: the length.

    Returns:
        The text.

    Examples:
        >>> length_text(245.2)
        '4:05'
    """
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def clock_text(seconds: float) -> str:
    """Write a time as 0:07.8 or 1:02:03.4.

    Args:
        seconds: the time.

    Returns:
        The text.
    """
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 10:04.1f}"
    return f"{hours}:{minutes:02}:{text}" if hours else f"{minutes}:{text}"


def shortened(text: str, width: int) -> str:
    """Keep the end of a text that is too wide.

    Args:
        text: the text.
        width: characters that there is room for, more than 3.

    Returns:
        The text, or "..." and its end.
    """
    return text if len(text) <= width else "..." + text[3 - width :]
