"""Files of embeddings: complete when they are closed without an error, else as they were."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from audiomamba.infer.formats.format import Format

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pyarrow import RecordBatch, Schema
    from pyarrow.parquet import ParquetWriter

    from audiomamba.infer.results import Embedded, Row

    Floats = NDArray[np.floating[Any]]

__all__ = ["EMBEDDING_FORMATS", "EmbeddingFile", "EmbeddingNpy", "EmbeddingParquet"]

ROWS_AT_ONCE = 4096
METADATA_KEY = b"audiomamba"


class _NothingToWriteError(Exception):
    """No recording could be embedded."""


class EmbeddingFile(Format, ABC):
    """A format of files that rows of embeddings are added to, used as a context.

    Args:
        out: the file.
        dtype: of the numbers.
        facts: what is known of all rows: the model, dtype, step_s (None for whole recordings).
    """

    def __init__(self, out: Path, dtype: "np.dtype[Any]", facts: "Row") -> None:
        self.out, self.dtype, self._facts = out, dtype, facts
        self._n_rows = 0

    @classmethod
    def files(cls, out: Path) -> list[Path]:
        """List the files that are written: the file itself first."""
        return [out]

    def __enter__(self) -> Self:
        from audiomamba.atomic import replacing

        with ExitStack() as stack:
            files = reversed(self.files(self.out))  # the file itself is replaced first
            self._parts = [stack.enter_context(replacing(file)) for file in files][::-1]
            self._begin()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        failed = error[0] is not None
        try:
            self._end(failed=failed)
            if not (failed or self._n_rows) and self.out.exists():
                raise _NothingToWriteError  # so that what is there stays
        except BaseException as other:
            self._stack.__exit__(type(other), other, other.__traceback__)
            if not isinstance(other, _NothingToWriteError):
                raise
        else:
            self._stack.__exit__(*error)

    def add(self, file: Path, seconds: float, blocks: "Iterable[Floats]") -> "Embedded":
        """Add the rows of a recording.

        Args:
            file: the recording.
            seconds: its length.
            blocks: (rows, dim) each; a row for the whole recording, or one per step.

        Returns:
            Which rows are its.
        """
        from audiomamba.infer.results import Embedded

        first = self._n_rows
        for block in blocks:
            self._add_block(file, seconds, block, self._n_rows - first)
            self._n_rows += len(block)
        return Embedded(file, seconds, first, self._n_rows - first)

    @abstractmethod
    def _begin(self) -> None:
        """Open the file."""

    @abstractmethod
    def _end(self, *, failed: bool) -> None:
        """Complete and close the file, or only close it where something failed."""

    @abstractmethod
    def _add_block(self, file: Path, seconds: float, block: "Floats", index: int) -> None:
        """Add rows; index is that of the first of them among the recording's."""


class EmbeddingParquet(EmbeddingFile):
    """A parquet file: file, seconds or the start_s of a step, and embedding."""

    name = "parquet"
    suffixes = (".parquet",)
    needs = ("pyarrow", "parquet")

    def _begin(self) -> None:
        self._stream = self._parts[0].open("wb")
        self._writer: ParquetWriter | None = None
        self._waiting: list[RecordBatch] = []

    def _end(self, *, failed: bool) -> None:
        with self._stream:
            if not failed:
                self._flush()
            if self._writer is not None:
                self._writer.close()

    def _add_block(self, file: Path, seconds: float, block: "Floats", index: int) -> None:
        import pyarrow as pa

        from audiomamba.infer.results import DIGITS

        step_s = self._facts["step_s"]
        steps = range(index, index + len(block))
        times = [round(seconds if step_s is None else step * step_s, DIGITS) for step in steps]
        values = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), block.shape[1])
        name = str(file).encode(errors="backslashreplace").decode()
        columns = [pa.array([name] * len(block)), pa.array(times, pa.float64()), values]
        schema = self._schema(block.shape[1])
        self._waiting.append(pa.RecordBatch.from_arrays(columns, schema=schema))
        if sum(map(len, self._waiting)) >= ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        """Write what waits, as one row group."""
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        schema = self._waiting[0].schema if self._waiting else self._schema(0)
        if self._writer is None:
            self._writer = ParquetWriter(self._stream, schema)
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting))
            self._waiting.clear()

    def _schema(self, dim: int) -> "Schema":
        import json

        import pyarrow as pa

        time = "seconds" if self._facts["step_s"] is None else "start_s"
        value = pa.list_(pa.from_numpy_dtype(self.dtype), dim)
        return pa.schema(
            [("file", pa.string()), (time, pa.float64()), ("embedding", value)],
            metadata={METADATA_KEY: json.dumps(self._facts).encode()},
        )


class EmbeddingNpy(EmbeddingFile):
    """An array (rows, dim), and a .json beside it with the facts and each recording's rows."""

    name = "npy"
    suffixes = (".npy",)

    @classmethod
    def files(cls, out: Path) -> list[Path]:
        """List the array's file and that of the facts."""
        return [out, out.with_suffix(".json")]

    def _begin(self) -> None:
        self._stream: IO[bytes] = self._parts[0].open("w+b")
        self._recordings: list[Row] = []
        self._dim = 0
        self._write_header()

    def _end(self, *, failed: bool) -> None:
        import json

        with self._stream:
            self._write_header()
        if failed:
            return
        facts = {**self._facts, "dim": self._dim, "recordings": self._recordings}
        text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
        self._parts[1].write_text(text, "utf-8", errors="backslashreplace")

    def add(self, file: Path, seconds: float, blocks: "Iterable[Floats]") -> "Embedded":
        """Add the rows of a recording, as EmbeddingFile.add does."""
        embedded = super().add(file, seconds, blocks)
        self._recordings.append(embedded.to_dict())
        return embedded

    def _add_block(self, _file: Path, _seconds: float, block: "Floats", _index: int) -> None:
        self._dim = block.shape[1]
        self._stream.write(block.tobytes())

    def _write_header(self) -> None:
        """Write the header at the file's beginning; its length does not depend on the rows."""
        from numpy.lib import format as npy

        self._stream.seek(0)
        npy.write_array_header_1_0(
            self._stream,
            {
                "descr": npy.dtype_to_descr(self.dtype),
                "fortran_order": False,
                "shape": (self._n_rows, self._dim),
            },
        )


EMBEDDING_FORMATS: tuple[type[EmbeddingFile], ...] = (EmbeddingParquet, EmbeddingNpy)
