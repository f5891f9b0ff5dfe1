"""Tables of tagged recordings: one row each, also of those that failed, as CSV, JSON or parquet.

The rows stand in the order of the recordings. CSV and parquet have the columns file, seconds,
label_1, score_1, label_2, score_2 and so on, note, error; JSON lines have tags (label, score)
instead of the numbered columns. A recording that failed has its error, and no seconds and tags.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from audiomamba.errors import ConfigError, MissingDependencyError
from audiomamba.infer.batch import tag_unordered
from audiomamba.infer.journal import Journal, Row, Rows
from audiomamba.infer.reading import TagOptions
from audiomamba.infer.results import Failed, Tagged
from audiomamba.infer.sound_model import SoundModel

__all__ = ["TaggedTable", "check_table"]

FORMATS = (".csv", ".jsonl", ".parquet")
N_DIGITS = 6  # of scores and seconds
ROWS_PER_GROUP = 4096  # of a parquet file


def check_table(file: Path) -> None:
    """Say, before any work is done, if a table cannot be written.

    Args:
        file: where it is to go; the suffix (.csv, .jsonl, .parquet) says the format.

    Raises:
        ConfigError: the format is unknown, or the file's folder does not exist.
        MissingDependencyError: the format needs pyarrow, which is not installed.
    """
    if file.suffix not in FORMATS:
        raise ConfigError(
            f"{file} is no table; expected a name that ends in .csv, .jsonl or .parquet"
        )
    if not file.parent.is_dir():
        raise ConfigError(f"{file} cannot be written: there is no folder {file.parent}")
    if file.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise MissingDependencyError("pyarrow", "parquet", "writing a parquet file")


class TaggedTable:
    """A table of tagged recordings in the making, which goes on where it was cut off.

    Args:
        sound_model: the model.
        files: the recordings.
        out: where the table goes; see check_table.
        options: how the recordings are read, and which tags are kept.
        about: what else the tags depend on, such as the hash of the model's weights.
        overwrite: whether a table that is there already, or what is left of another call, gives
            way.

    Raises:
        ConfigError: there is a table already, or what is left of another call, or it cannot be
            written; or as for Tagger.tag.
        MissingDependencyError: as for check_table.
        DataError: what is left of the call is damaged.
    """

    def __init__(
        self,
        sound_model: SoundModel,
        files: Sequence[Path],
        out: Path,
        options: TagOptions,
        *,
        about: Mapping[str, str],
        overwrite: bool,
    ) -> None:
        check_table(out)
        sound_model.check(options)
        call = {"model": sound_model.name, **about, **asdict(options)}
        if not sound_model.shows_all:
            call["labels"] = list(sound_model.labels)
        self._sound_model, self._options = sound_model, options
        self._n_tags = None if options.top is None else min(options.top, len(sound_model.labels))
        self._journal = Journal(out, call, files, overwrite=overwrite)
        self._out, self._call = out, call
        self.todo = self._journal.todo
        self.n_files = len(files)

    @property
    def n_failed(self) -> int | None:
        """How many recordings failed; None until the table is finished."""
        return self._journal.n_failed

    def results(self) -> Iterator[Tagged | Failed]:
        """Tag the recordings that have no row yet; the table is finished with the last.

        Yields:
            A result for each as soon as it is ready; being killed does not lose it any more.
        """
        try:
            for _, result in tag_unordered(self._sound_model, self.todo, self._options):
                self._journal.add(result.file, _row(result))
                yield result
            if self.n_failed is None:
                self._journal.finish(self._write)
        finally:
            self._journal.close()

    def _write(self, file: Path, rows: Rows) -> None:
        """Write the table in the format that its name asks for."""
        if self._out.suffix == ".jsonl":
            _write_json(file, rows)
        elif self._out.suffix == ".csv":
            _write_csv(file, rows, _columns(rows, self._n_tags))
        else:
            _write_parquet(file, rows, _columns(rows, self._n_tags), self._call)


def _row(result: Tagged | Failed) -> Row:
    """What is kept of a result."""
    if isinstance(result, Failed):
        error = " ".join(str(result.error).split())
        return {"seconds": None, "tags": [], "note": "", "error": error}
    tags = [{"label": tag.label, "score": round(tag.score, N_DIGITS)} for tag in result.tags]
    seconds = round(result.seconds, N_DIGITS)
    return {"seconds": seconds, "tags": tags, "note": result.note, "error": ""}


def _columns(rows: Rows, n_tags: int | None) -> list[str]:
    """The names of the columns: as many tags as were asked for, or as any row has."""
    if n_tags is None:
        n_tags = max((len(row["tags"]) for row in rows()), default=0)
    numbered = [f"{name}_{place + 1}" for place in range(n_tags) for name in ("label", "score")]
    return ["file", "seconds", *numbered, "note", "error"]


def _flat(row: Row) -> Row:
    """A row with its tags in numbered columns; what is not there is left out."""
    flat = {key: row[key] for key in ("file", "seconds", "note", "error")}
    for place, tag in enumerate(row["tags"], start=1):
        flat[f"label_{place}"], flat[f"score_{place}"] = tag["label"], tag["score"]
    return flat


def _write_csv(file: Path, rows: Rows, columns: Sequence[str]) -> None:
    with file.open("w", encoding="utf-8", errors="backslashreplace", newline="") as out:
        writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(_flat, rows()))


def _write_json(file: Path, rows: Rows) -> None:
    with file.open("w", encoding="utf-8", errors="backslashreplace") as out:
        for row in rows():
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_parquet(file: Path, rows: Rows, columns: Sequence[str], call: Row) -> None:
    """The call stands in the file's metadata."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    types = {"seconds": pa.float64(), "score": pa.float32()}
    fields = [(name, types.get(name.partition("_")[0], pa.string())) for name in columns]
    schema = pa.schema(fields, metadata={"audiomamba": json.dumps(call)})
    with ParquetWriter(file, schema) as writer:
        every = (_valid(_flat(row)) for row in rows())
        while group := list(islice(every, ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def _valid(row: Row) -> Row:
    """A row whose text is valid, as file names need not be."""
    return {
        key: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for key, value in row.items()
    }
