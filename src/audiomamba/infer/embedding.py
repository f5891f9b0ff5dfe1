"""Embeddings of recordings, and of every moment of them, as vectors and as files.

A file is made whole or not at all: it is written under another name first. A recording that fails
leaves nothing in it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from audiomamba.errors import AudioError, ConfigError, MissingDependencyError
from audiomamba.infer.frame_scores import embed_frames
from audiomamba.infer.framing import Framing
from audiomamba.infer.recording import Audio
from audiomamba.infer.results import Embedded, Failed
from audiomamba.infer.sound_model import SoundModel
from audiomamba.infer.windows import WindowMean

if TYPE_CHECKING:
    from pyarrow import RecordBatch, Schema
    from pyarrow.parquet import ParquetWriter

__all__ = ["DTYPES", "check", "embed_files", "embed_recording"]

DTYPES = ("float32", "float16")

ROWS_AT_ONCE = 4096
METADATA_KEY = b"audiomamba"

_Floats = NDArray[np.floating[Any]]


@torch.no_grad()  # not inference mode: a classifier may be trained on the result
def embed_recording(sound_model: SoundModel, recording: Audio) -> tuple[Tensor, float]:
    """Embed a recording as one vector: the mean over its windows, every moment counting alike.

    Args:
        sound_model: the model.
        recording: as for Tagger.tag.

    Returns:
        (dim,) float32, and the recording's length in seconds.

    Raises:
        AudioError: as for Tagger.tag.
        ConfigError: as for Tagger.tag.
    """
    mean = WindowMean()
    for batch in sound_model.windows(recording):
        features, lengths = sound_model.inputs(batch)
        mean.add_batch(batch, sound_model.model.embed(features, lengths).cpu())
    return mean.result(), mean.n_samples / sound_model.front_end.sample_rate


def check(out: Path, dtype: str) -> None:
    """Say, before any work is done, if embeddings cannot be written.

    Args:
        out: where they are to go; the suffix (.parquet, .npy) says the format.
        dtype: of the numbers.

    Raises:
        MissingDependencyError: the format needs pyarrow, and it is not installed.
        ConfigError: the format or the type is unknown, or the file's folder does not exist.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"embeddings as {dtype!r}; expected {' or '.join(DTYPES)}")
    if out.suffix.lower() not in (".parquet", ".npy"):
        raise ConfigError(f"{out}: expected a name that ends in .parquet or .npy")
    if not out.parent.is_dir():
        raise ConfigError(f"{out}: there is no folder {out.parent}")
    if out.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise MissingDependencyError("pyarrow", "parquet", "writing parquet")


def embed_files(
    sound_model: SoundModel,
    files: Iterable[Path],
    out: Path,
    *,
    framing: Framing | None = None,
    dtype: str = "float32",
    about: Mapping[str, str] | None = None,
) -> Iterator[Embedded | Failed]:
    """Embed recordings into a file, which is there when the last result was taken.

    With .parquet, a row holds file, seconds and embedding, or file, start_s and embedding of a
    frame; with .npy the array holds the embeddings (rows, dim), and a .json beside it which rows
    are whose. The model's name and the other settings are in the parquet file's metadata, as JSON
    under the key "audiomamba", or in the .json.

    Args:
        sound_model: the model, such as a Tagger.
        files: the recordings.
        out: where the embeddings go.
        framing: how recordings become frames, each with an embedding; None for one embedding per
            recording.
        dtype: of the numbers.
        about: what else the metadata are to tell, such as the model's hash.

    Yields:
        One result per recording, in their order; one that fails does not stop the others.

    Raises:
        MissingDependencyError: as for check.
        ConfigError: as for check, or the framing does not fit the model.
    """
    check(out, dtype)
    facts: dict[str, Any] = {
        "model": sound_model.name,
        **(about or {}),
        "dtype": dtype,
        "sample_rate": sound_model.front_end.sample_rate,
        "step_s": None if framing is None else framing.step_s,
    }
    kind = _Parquet if out.suffix.lower() == ".parquet" else _Npy
    with kind(out, np.dtype(dtype), facts) as table:
        for file in files:
            try:
                if framing is None:
                    values, seconds = embed_recording(sound_model, file)
                    n_rows = table.add(file, seconds, [_as(values[None], dtype)], None)
                else:
                    n_rows, seconds = _add_frames(table, sound_model, file, framing, dtype)
            except (AudioError, MissingDependencyError) as error:
                yield Failed(file, error)
            else:
                yield Embedded(file, seconds, n_rows)


def _add_frames(
    table: "_Table", sound_model: SoundModel, file: Path, framing: Framing, dtype: str
) -> tuple[int, float]:
    """Write the frames of a recording once all of them are there."""
    with TemporaryFile() as spool:
        frames, dim = embed_frames(sound_model, file, framing), 0
        for block in frames:
            dim = block.shape[1]
            spool.write(_as(block, dtype).tobytes())
        spool.seek(0)
        blocks = _read_rows(spool, np.dtype(dtype), dim)
        return table.add(file, frames.seconds, blocks, framing.step_s), frames.seconds


def _read_rows(spool: IO[bytes], dtype: np.dtype[Any], dim: int) -> Iterator[_Floats]:
    while data := spool.read(ROWS_AT_ONCE * dim * dtype.itemsize):
        yield np.frombuffer(data, dtype=dtype).reshape(-1, dim)


def _as(values: Tensor, dtype: str) -> _Floats:
    array: _Floats = values.numpy().astype(dtype)
    return array


class _Table(Protocol):
    """A file that rows of embeddings are added to."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None: ...

    def add(
        self, file: Path, seconds: float, blocks: Iterable[_Floats], step_s: float | None
    ) -> int:
        """Add the rows (rows, dim) of a recording, frames if there is a step; return how many."""


class _Parquet:
    """Rows of file, seconds or start_s, and embedding."""

    def __init__(self, out: Path, dtype: np.dtype[Any], facts: dict[str, Any]) -> None:
        self._out, self._part = out, out.with_name(out.name + ".part")
        self._dtype, self._facts = dtype, facts
        self._writer: ParquetWriter | None = None
        self._waiting: list[RecordBatch] = []

    def __enter__(self) -> Self:
        self._part.touch()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        if self._writer is not None:
            self._writer.close()
        if kind is None:
            self._part.replace(self._out)
        else:
            self._part.unlink()

    def add(
        self, file: Path, seconds: float, blocks: Iterable[_Floats], step_s: float | None
    ) -> int:
        import pyarrow as pa

        n_rows = 0
        for block in blocks:
            numbers = np.arange(n_rows, n_rows + len(block))
            times = np.full(len(block), seconds) if step_s is None else numbers * step_s
            values = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), block.shape[1])
            columns = [pa.array([str(file)] * len(block)), pa.array(times), values]
            schema = self._schema(block.shape[1])
            self._waiting.append(pa.RecordBatch.from_arrays(columns, schema=schema))
            n_rows += len(block)
            if sum(map(len, self._waiting)) >= ROWS_AT_ONCE:
                self._flush()
        return n_rows

    def _flush(self) -> None:
        """Write what waits, as one row group."""
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        schema = self._waiting[0].schema if self._waiting else self._schema(0)
        if self._writer is None:
            self._writer = ParquetWriter(self._part, schema)
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting))
            self._waiting.clear()

    def _schema(self, dim: int) -> "Schema":
        import pyarrow as pa

        time = "seconds" if self._facts["step_s"] is None else "start_s"
        value = pa.list_(pa.from_numpy_dtype(self._dtype), dim)
        return pa.schema(
            [("file", pa.string()), (time, pa.float64()), ("embedding", value)],
            metadata={METADATA_KEY: json.dumps(self._facts).encode()},
        )


class _Npy:
    """An array (rows, dim), and a JSON file with the facts and whose the rows are."""

    def __init__(self, out: Path, dtype: np.dtype[Any], facts: dict[str, Any]) -> None:
        self._out, self._part = out, out.with_name(out.name + ".part")
        self._dtype, self._facts = dtype, facts
        self._rows: list[dict[str, Any]] = []
        self._n_rows = self._dim = 0

    def __enter__(self) -> Self:
        self._stream = self._part.open("w+b")
        self._write_header()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._stream:
            self._write_header()
        if kind is not None:
            self._part.unlink()
            return
        beside = self._out.with_suffix(".json")
        facts = {**self._facts, "dim": self._dim, "recordings": self._rows}
        beside.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")
        self._part.replace(self._out)

    def add(
        self, file: Path, seconds: float, blocks: Iterable[_Floats], step_s: float | None
    ) -> int:
        first = self._n_rows
        for block in blocks:
            self._dim = block.shape[1]
            self._stream.write(block.tobytes())
            self._n_rows += len(block)
        row = {"file": str(file), "seconds": round(seconds, 6), "first_row": first}
        self._rows.append(row if step_s is None else {**row, "n_rows": self._n_rows - first})
        return self._n_rows - first

    def _write_header(self) -> None:
        """Write the header at the file's beginning; its length does not depend on the rows."""
        self._stream.seek(0)
        npy.write_array_header_1_0(
            self._stream,
            {
                "descr": npy.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self._n_rows, self._dim),
            },
        )
