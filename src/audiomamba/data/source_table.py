"""Where recordings of a collection come from: the source and the licence of each, from a table.

The table is a CSV file. A row says what holds for its column `path`, a file or a folder of the
collection; a row without one is about the folder that its column `source` names. Further columns
are `license` (or `licence`) and `freesound_id`. What a row leaves open, the row of a folder around
it says, and else the top folder is the source and nothing is known of the licence.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from audiomamba.data.corpora.table import read_table
from audiomamba.errors import DataError

__all__ = ["TABLE_NAME", "UNKNOWN_LICENSE", "Source", "SourceTable", "read_source_table"]

TABLE_NAME = "sources.csv"
UNKNOWN_LICENSE = "unknown"


@dataclass(frozen=True)
class Source:
    """Where one recording comes from.

    Args:
        name: of the source.
        license: of the recording, as the table says it; "unknown" if it does not.
        freesound_id: the recording's number on Freesound; empty if the table does not say it.
    """

    name: str
    license: str
    freesound_id: str


@dataclass(frozen=True)
class SourceTable:
    """What is known about the files and folders of a collection.

    Args:
        rows: cells by column, for each path relative to the collection, with "/" between folders.
    """

    rows: Mapping[str, Mapping[str, str]]

    def find(self, relative: str, top: str) -> Source:
        """Tell where a recording comes from.

        Args:
            relative: its path in the collection, with "/" between folders.
            top: the source of what stands in no folder.

        Returns:
            The source.
        """
        first, slash, _ = relative.partition("/")
        known = {"source": first if slash else top, "license": UNKNOWN_LICENSE}
        names = relative.split("/")
        around = ["", *("/".join(names[: n + 1]) for n in range(len(names)))]
        for path in around:  # from the collection itself down to the file
            row = self.rows.get(path, {})
            known |= {column: cell for column, cell in row.items() if cell}
        return Source(known["source"], known["license"], known.get("freesound_id", ""))


def read_source_table(path: Path) -> SourceTable:
    """Read the table of sources.

    Args:
        path: the CSV file.

    Returns:
        What it says.

    Raises:
        DataError: it cannot be read, has neither a column path nor source, a row names nothing, or
            two rows are about the same path.
    """
    rows: dict[str, dict[str, str]] = {}
    for cells in read_table(path, []):
        number = cells.line
        row = {column.strip().lower(): cell.strip() for column, cell in cells.items()}
        where = row.get("path") or row.get("source")
        if not where:
            raise DataError(
                f"{path}: line {number} has no path and no source; expected a column path, a file "
                "or folder of the collection, or a column source, one of its top folders"
            )
        if "licence" in row:
            row["license"] = row.get("license") or row["licence"]
        where = posixpath.normpath(where.replace("\\", "/"))
        where = "" if where == "." else where
        if where in rows:
            raise DataError(f"{path}: line {number}: {where!r} has a row already")
        kept = ("source", "license", "freesound_id")
        rows[where] = {column: row[column] for column in kept if column in row}
    return SourceTable(rows)
