"""CSV tables with a header, read strictly."""

import csv
from collections.abc import Iterable
from pathlib import Path

from audiomamba.errors import DataError

__all__ = ["read_table"]


def read_table(path: Path, required: Iterable[str]) -> list[dict[str, str]]:
    """Read a CSV file whose first line names the columns.

    Args:
        path: the file, UTF-8.
        required: columns that have to be there.

    Returns:
        One dictionary per line.

    Raises:
        DataError: the file is missing or not text, a column is missing, or a line has too few or
            too many cells.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a CSV table: {error}") from error
    missing = [name for name in required if name not in columns]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(missing)}; its columns: {', '.join(columns) or 'none'}"
        )
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise DataError(f"{path}: line {number} does not have {len(columns)} cells")
    return rows
