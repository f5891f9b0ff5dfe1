"""The rows of a part, and the files that hold them.

OUT/parts/NUMBER-HASH.parquet   the rows of a part, in the order of the plan
OUT/done/NUMBER.json            which file that is, how many rows and failures; written last

A part's file has the hash of its content in its name. So whoever computes a part a second time
either writes the same file again, or another one beside it, and the record, which is replaced as a
whole, always names a file that is complete.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

from audiomamba.errors import DataError
from audiomamba.infer.results import Row
from audiomamba.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

    from audiomamba.bulk.computation import Computation

__all__ = ["DONE", "Done", "is_done", "numbers_done", "read_done", "schema_of", "write_part"]

DONE = "done"
PARTS = "parts"


@dataclass(frozen=True)
class Done:
    """That a part is complete.

    Args:
        part: its number.
        file: the name of its file.
        sha256: the hash of that.
        n_rows: rows in it, one for each file.
        n_failed: those with an error.
        seconds: of sound.

    Examples:
        >>> Done(3, "000003-ab.parquet", "ab", 1000, 2, 9980.0).to_bytes()[:10]
        b'{"part": 3'
    """

    part: int
    file: str
    sha256: str
    n_rows: int
    n_failed: int
    seconds: float

    def to_bytes(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Make it from what to_bytes gave."""
        return cls(**json.loads(data))


def record_name(part: int) -> str:
    """Name a part's record.

    Args:
        part: its number.

    Returns:
        The name, relative to the output.
    """
    return f"{DONE}/{part:08d}.json"


def schema_of(computation: "Computation") -> "pa.Schema":
    """Say which columns rows have.

    Args:
        computation: what was computed.

    Returns:
        The schema.
    """
    import pyarrow as pa

    text, score = pa.string(), pa.float32()
    tag = pa.struct({"label": text, "score": score, "heard": pa.bool_()})
    event = pa.struct(
        {"label": text, "start_s": pa.float64(), "end_s": pa.float64(), "score": score}
    )
    number = pa.float16() if computation.dtype == "float16" else pa.float32()
    columns = {
        "tags": ("tags", pa.list_(tag)),
        "timeline": ("events", pa.list_(event)),
        "embeddings": ("embedding", pa.list_(number)),
    }
    chosen = [columns[name] for name in computation.names]
    return pa.schema(
        [("file", text), ("seconds", pa.float64()), *chosen, ("note", text), ("error", text)]
    )


def write_part(storage: Storage, part: int, rows: Sequence[Row], schema: "pa.Schema") -> Done:
    """Write the rows of a part, then the record that it is complete.

    Args:
        storage: the output.
        part: its number.
        rows: all of its rows.
        schema: their columns.

    Returns:
        The record.

    Raises:
        OSError: something cannot be written; then there is no record.
    """
    import pyarrow as pa
    from pyarrow.parquet import write_table

    out = io.BytesIO()
    write_table(pa.Table.from_pylist(list(rows), schema=schema), out, compression="zstd")
    data = out.getvalue()
    digest = sha256(data).hexdigest()
    done = Done(
        part=part,
        file=f"{part:08d}-{digest[:16]}.parquet",
        sha256=digest,
        n_rows=len(rows),
        n_failed=sum(bool(row["error"]) for row in rows),
        seconds=round(sum(row["seconds"] or 0.0 for row in rows), 3),
    )
    storage.write(f"{PARTS}/{done.file}", data)
    storage.write(record_name(part), done.to_bytes())
    return done


def read_part(storage: Storage, done: Done) -> "pa.Table":
    """Read the rows of a part.

    Args:
        storage: the output.
        done: its record.

    Returns:
        The table.

    Raises:
        DataError: its file is not there, or not as it was written.
    """
    import pyarrow as pa
    from pyarrow.parquet import read_table

    try:
        data = storage.read(f"{PARTS}/{done.file}")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"part {done.part}: {done.file} cannot be read: {reason}") from error
    if sha256(data).hexdigest() != done.sha256:
        raise DataError(f"part {done.part}: {done.file} is not as it was written")
    return read_table(pa.BufferReader(data))


def is_done(storage: Storage, part: int) -> bool:
    """Whether a part is complete.

    Args:
        storage: the output.
        part: its number.

    Returns:
        Whether its record is there.
    """
    return storage.exists(record_name(part))


def numbers_done(storage: Storage) -> set[int]:
    """List the parts that are complete.

    Args:
        storage: the output.

    Returns:
        Their numbers.
    """
    names = (name.removesuffix(".json") for name in storage.names(DONE))
    return {int(name) for name in names if name.isdecimal()}


def read_done(storage: Storage, part: int) -> Done:
    """Read a part's record.

    Args:
        storage: the output.
        part: its number.

    Returns:
        The record.

    Raises:
        DataError: it is not there, or damaged.
    """
    try:
        return Done.from_bytes(storage.read(record_name(part)))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"part {part}: its record {storage.at(record_name(part))} cannot be read; delete it, "
            "and `audiomamba bulk run` makes it anew"
        ) from error


def as_text(name: str) -> str:
    """Write a file's name as valid text, which it need not be.

    Args:
        name: the name.

    Returns:
        The same, with what is no text escaped.

    Examples:
        >>> as_text("dog.wav")
        'dog.wav'
    """
    return name.encode(errors="backslashreplace").decode()


def failed_row(name: str, error: str) -> dict[str, Any]:
    """Make the row of a file that failed.

    Args:
        name: the file.
        error: why, in one line.

    Returns:
        The row, without any of the results.
    """
    row = {"file": name, "seconds": None, "tags": None, "events": None, "embedding": None}
    return {**row, "note": "", "error": as_text(" ".join(error.split()))}
