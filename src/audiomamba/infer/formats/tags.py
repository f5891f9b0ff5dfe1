"""Tags as tables and as text.

TAG_TABLES are files with a row per recording, also for one that failed. TAG_TEXTS are what is
printed while recordings are tagged. CSV is in both, in two forms with names of their own: "csv" has
a row per recording with numbered columns, "csv-rows" has a row per tag.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiomamba.infer.formats.format import Format
from audiomamba.infer.formats.text import csv_line, json_line, length_text, shortened

if TYPE_CHECKING:
    from audiomamba.infer.results import Row, Rows

__all__ = [
    "TAG_TABLES",
    "TAG_TEXTS",
    "TagCsv",
    "TagCsvRows",
    "TagJson",
    "TagLayout",
    "TagParquet",
    "TagTable",
    "TagText",
]

ROWS_PER_GROUP = 4096  # of a parquet file
_WIDEST_LABEL, _BAR = 22, 9
_FILE_AND_LABEL = 50  # what the other columns leave of a line of 80


@dataclass(frozen=True, kw_only=True)
class TagLayout:
    """What is known before the first recording.

    Args:
        files: the names of all recordings to come.
        labels: all labels that may appear.
        n_tags: the most tags that a recording may have.
        heard: whether tags say whether they are heard.
    """

    files: Sequence[str]
    labels: Sequence[str]
    n_tags: int
    heard: bool

    def columns(self) -> list[str]:
        """Name the columns of a table with a row per recording."""
        of_a_tag = ("label", "score", "heard") if self.heard else ("label", "score")
        numbers = range(1, self.n_tags + 1)
        numbered = [f"{name}_{number}" for number in numbers for name in of_a_tag]
        return ["file", "seconds", *numbered, "note", "error"]


class TagText(Format, ABC):
    """A format of text: lines for every recording, as soon as it is tagged.

    Args:
        layout: what is known before the first recording.
    """

    def __init__(self, layout: TagLayout) -> None:
        self.layout = layout

    def header(self) -> str:
        """Return what stands before the first recording; may be empty."""
        return ""

    @abstractmethod
    def lines(self, row: "Row") -> str:
        """Return the lines of one recording, each ended by a newline.

        Args:
            row: as Tagged.to_dict gives it.
        """

    def write(self, file: Path, rows: "Rows", _call: "Row") -> None:
        """Write a whole table.

        Args:
            file: where it goes.
            rows: gives the rows from the first on, each time it is called.
            call: what the rows depend on.
        """
        with file.open("w", encoding="utf-8", errors="backslashreplace", newline="") as out:
            out.write(self.header())
            out.writelines(map(self.lines, rows()))


class TagTable(TagText):
    """A table of at most 80 columns; a * marks what is heard."""

    name = "table"

    def __init__(self, layout: TagLayout) -> None:
        super().__init__(layout)
        self._label = min(_WIDEST_LABEL, max(map(len, [*layout.labels, "(none)"])))
        self._file = min(_FILE_AND_LABEL - self._label, max(map(len, [*layout.files, "recording"])))

    def header(self) -> str:
        """Return the column names and a rule."""
        names = self._line("recording", "length", "tag", "score")
        return f"{names}\n{'-' * (len(names) + 2 + _BAR)}\n"

    def lines(self, row: "Row") -> str:
        """Return one line per tag; the recording is named on the first."""
        file, length = shortened(row["file"], self._file), length_text(row["seconds"])
        if not row["tags"]:
            return self._line(file, length, "(none)", "") + "\n"
        lines = []
        for tag in row["tags"]:
            bar = "#" * round(tag["score"] * _BAR)
            label = tag["label"][: self._label]
            mark = ("*" if tag["heard"] else " ") if "heard" in tag else ""
            score = f"{tag['score']:.2f}{mark}"
            lines.append(f"{self._line(file, length, label, score)}  {bar}".rstrip())
            file = length = ""
        return "\n".join(lines) + "\n"

    def _line(self, file: str, length: str, label: str, score: str) -> str:
        return f"{file:<{self._file}}  {length:>8}  {label:<{self._label}}  {score:>5}"


class TagJson(TagText):
    """JSON lines: an object per recording, with a list of tags."""

    name = "json"
    suffixes = (".jsonl",)

    def lines(self, row: "Row") -> str:
        """Return one line."""
        return json_line(row)


class TagCsvRows(TagText):
    """CSV with a row per tag: file, seconds, label, score and, where it is known, heard."""

    name = "csv-rows"

    def header(self) -> str:
        """Return the column names."""
        heard = ("heard",) if self.layout.heard else ()
        return csv_line(("file", "seconds", "label", "score", *heard))

    def lines(self, row: "Row") -> str:
        """Return one row per tag."""
        first = row["file"], row["seconds"]
        return "".join(csv_line((*first, *tag.values())) for tag in row["tags"])


class TagCsv(TagText):
    """CSV with a row per recording: its tags in the columns label_1, score_1, label_2 and so on."""

    name = "csv"
    suffixes = (".csv",)

    def __init__(self, layout: TagLayout) -> None:
        super().__init__(layout)
        self._columns = layout.columns()

    def header(self) -> str:
        """Return the column names."""
        return csv_line(self._columns)

    def lines(self, row: "Row") -> str:
        """Return one row."""
        flat = _flat(row)
        return csv_line(flat.get(name) for name in self._columns)


class TagParquet(Format):
    """A parquet file with a row per recording, and the columns of TagCsv.

    Args:
        layout: what is known before the first recording.
    """

    name = "parquet"
    suffixes = (".parquet",)
    needs = ("pyarrow", "parquet")

    def __init__(self, layout: TagLayout) -> None:
        self.layout = layout

    def write(self, file: Path, rows: "Rows", call: "Row") -> None:
        """Write a whole table, as TagText.write does; the call is in the file's metadata."""
        import json

        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        types = {"seconds": pa.float64(), "score": pa.float32(), "heard": pa.bool_()}
        names = self.layout.columns()
        fields = [(name, types.get(name.partition("_")[0], pa.string())) for name in names]
        schema = pa.schema(fields, metadata={"audiomamba": json.dumps(call)})
        with file.open("wb") as stream, ParquetWriter(stream, schema) as writer:
            every = (_valid(_flat(row)) for row in rows())
            while group := list(islice(every, ROWS_PER_GROUP)):
                writer.write_table(pa.Table.from_pylist(group, schema=schema))


TAG_TABLES: tuple[type[TagText] | type[TagParquet], ...] = (TagCsv, TagJson, TagParquet)
TAG_TEXTS: tuple[type[TagText], ...] = (TagTable, TagJson, TagCsvRows)


def _flat(row: "Row") -> "Row":
    """A row with its tags in numbered columns; what is not there is left out."""
    flat = {key: row[key] for key in ("file", "seconds", "note", "error")}
    for number, tag in enumerate(row["tags"], start=1):
        flat |= {f"{key}_{number}": value for key, value in tag.items()}
    return flat


def _valid(row: "Row") -> dict[str, Any]:
    """A row whose text is valid, as file names need not be."""
    return {
        key: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for key, value in row.items()
    }
