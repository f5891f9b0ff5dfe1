"""CSV tables with a header, as spreadsheets and programs write them.

What stands between the cells is told by the header: a comma, a semicolon, a tab or a bar. The text
is UTF-8, or what the file's first bytes say. A line is named as an editor counts it.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import shorten

from audiomamba.errors import DataError

__all__ = ["Row", "describe_columns", "read_table"]

DELIMITERS = (",", ";", "\t", "|")
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
LONGEST_LINE = 120
OTHER_KINDS = {
    b"PK\x03\x04": "a zip file, as Excel's are",
    b"RIFF": "a recording",
    b"fLaC": "a recording",
    b"OggS": "a recording",
    b"ID3": "a recording",
}
SAID_FIRST = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # a line that Excel writes and reads


class Row(dict[str, str]):
    """The cells of one row by column, without the spaces around them.

    Args:
        cells: the cells.
        line: the line of the file on which the row begins, 1 for the first.

    Examples:
        >>> row = Row({"filename": "1.wav"}, line=2)
        >>> row["filename"], row.line
        ('1.wav', 2)
    """

    def __init__(self, cells: dict[str, str], line: int) -> None:
        super().__init__(cells)
        self.line = line


def read_table(path: Path, required: Iterable[str]) -> list[Row]:
    r"""Read a CSV file whose first line names the columns.

    Args:
        path: the file.
        required: columns that have to be there.

    Returns:
        The rows, empty ones left out.

    Raises:
        DataError: the file is missing or not text, a column is missing or named twice, or a line
            has too few or too many cells.

    Examples:
        >>> _ = Path("clips.csv").write_text("filename; label\n\n1.wav; dog\n")
        >>> [(row["label"], row.line) for row in read_table(Path("clips.csv"), ["filename"])]
        [('dog', 3)]
    """
    rows = _rows(path, _text(path))
    _, header = next(rows, (0, []))
    columns = [name.strip().strip("\ufeff") for name in header]
    while columns and not columns[-1]:  # a comma at the end of the line
        columns.pop()
    missing = [name for name in required if name not in columns]
    if missing:
        raise DataError(f"{path}: no column {', '.join(missing)}; {describe_columns(columns)}")
    twice = [name for name, n in Counter(filter(None, columns)).items() if n > 1]
    if twice:
        raise DataError(f"{path}: two columns are named {twice[0]!r}; expected each name once")
    return [Row(_cells(path, line, columns, cells), line) for line, cells in rows]


def describe_columns(columns: Iterable[str]) -> str:
    """Name the columns of a table, for a message.

    Args:
        columns: their names.

    Returns:
        The end of a sentence, of one short line whatever the table holds.

    Examples:
        >>> describe_columns(["filename", "label"])
        'its columns: filename, label'
    """
    return "its columns: " + (
        shorten(", ".join(columns), LONGEST_LINE, placeholder=" ...") or "none"
    )


def _cells(path: Path, line: int, columns: list[str], cells: list[str]) -> dict[str, str]:
    """One row by column; the numbers that some programs put first have no name."""
    cells = [cell.strip() for cell in cells]
    beyond = "".join(cells[len(columns) :])
    unnamed = "".join(cell for name, cell in zip(columns[1:], cells[1:], strict=False) if not name)
    if len(cells) < len(columns) or beyond or unnamed:
        raise DataError(f"{path}: line {line} does not have {len(columns)} cells")
    return {name: cell for name, cell in zip(columns, cells, strict=False) if name}


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the line on which it begins; the header first."""
    lines = io.StringIO(text, newline="")
    header = next((line for line in lines if line.strip()), "")
    said = SAID_FIRST.fullmatch(header)
    if said:
        header = next((line for line in lines if line.strip()), "")
    delimiter = said[1] if said else max(DELIMITERS, key=lambda it: _n_cells(header, it))
    lines.seek(0)
    spaced = f"{delimiter} " in header
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=spaced)
    begins = 1
    try:
        for cells in reader:
            if "".join(cells).strip() and not (
                said and SAID_FIRST.fullmatch(delimiter.join(cells))
            ):
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}: line {begins} cannot be read: {error}; expected cells between "
            f"{delimiter!r}, and a second quote for every quote"
        ) from error


def _n_cells(header: str, delimiter: str) -> int:
    """How many columns a header has, if this stands between them."""
    try:
        return len(next(csv.reader([header], delimiter=delimiter, strict=True), ()))
    except csv.Error:
        return 0


def _text(path: Path) -> str:
    """What is written in a file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise DataError(f"{path}: cannot be read as a CSV table: {reason}") from error
    for mark, what in OTHER_KINDS.items():
        if data.startswith(mark):
            raise DataError(
                f"{path}: cannot be read as a CSV table: it is {what}; expected a CSV table or a "
                "folder"
            )
    encoding, n_mark = _encoding(data)
    try:
        text = data[n_mark:].decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: cannot be read as a CSV table: line {line} is not text in "
            f"{encoding.upper()}; save the table as UTF-8"
        ) from error
    if "\0" in text:
        raise DataError(
            f"{path}: cannot be read as a CSV table: it holds binary data; save the table as CSV"
        )
    return text


def _encoding(data: bytes) -> tuple[str, int]:
    """How text is encoded, by its first bytes; and how many of these only say so."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if data.startswith(mark) and not (
            encoding == "utf-16-le" and data.startswith(codecs.BOM_UTF32_LE)
        ):
            return encoding, len(mark)
    head = data[:512]
    for encoding, others in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(others) > 3 and others.count(0) > 0.8 * len(others):  # plain letters
            return encoding, 0
    return "utf-8", 0
