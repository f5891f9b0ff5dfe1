"""What the page draws of a recording: peaks of its waveform, and tiles of its spectrogram.

Both are written to files without names while the recording is read, so that memory does not grow.
"""

import struct
import zlib
from tempfile import TemporaryFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiomamba import audio

__all__ = [
    "COLUMNS_PER_S",
    "LEVEL_FACTOR",
    "N_BANDS",
    "TILE_COLUMNS",
    "PeakFile",
    "SpectrogramFile",
    "png",
]

COLUMNS_PER_S = 50  # of peaks and of the spectrogram
N_BANDS = 64
TILE_COLUMNS = 512
LEVEL_FACTOR = 4  # columns of a level that are one column of the next
RANGE_DB = 75.0  # from the loudest to what is drawn as silence
FLOOR_DB, CEILING_DB = -100.0, 27.0  # of the bytes that are kept, half a decibel each
_BLOCK_S = 8
_PALETTE = (
    (0, 0, 4),
    (60, 15, 112),
    (150, 44, 128),
    (222, 73, 104),
    (254, 159, 109),
    (252, 253, 191),
)
_Bytes = NDArray[np.uint8]


class PeakFile:
    """The lowest and the highest sample of every column, as signed bytes.

    Args:
        sample_rate: of the samples.
    """

    def __init__(self, sample_rate: int) -> None:
        self._size = sample_rate // COLUMNS_PER_S
        self._file = TemporaryFile()  # noqa: SIM115  # closed by close
        self._rest = np.zeros(0, np.float32)
        self.n_bytes = 0

    def add(self, samples: Tensor) -> None:
        """Take the next samples.

        Args:
            samples: (samples,).
        """
        held = np.concatenate([self._rest, samples.numpy()])
        n_columns = len(held) // self._size
        self._rest = held[n_columns * self._size :]
        self._write(held[: n_columns * self._size].reshape(n_columns, self._size))

    def finish(self) -> None:
        """Take the end of the recording."""
        if len(self._rest):
            self._write(self._rest[None])

    def read(self) -> bytes:
        """Return all columns: two signed bytes each, the lowest and the highest sample."""
        self._file.seek(0)
        return self._file.read()

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def _write(self, columns: NDArray[np.float32]) -> None:
        ends = np.stack([columns.min(1, initial=0.0), columns.max(1, initial=0.0)], axis=1)
        data = (127 * ends.clip(-1, 1)).astype(np.int8).tobytes()
        self.n_bytes += self._file.write(data)


class SpectrogramFile:
    """The spectrogram, (columns, bands) bytes, in levels that are ever coarser.

    Args:
        sample_rate: of the samples.
    """

    def __init__(self, sample_rate: int) -> None:
        shift_ms = 1000 / COLUMNS_PER_S
        self._front_end = audio.FrontEnd(
            sample_rate=sample_rate,
            n_mels=N_BANDS,
            frame_shift_ms=shift_ms,
            frame_length_ms=2 * shift_ms,
            mean=None,
            std=None,
        )
        self._rest = torch.zeros(0)
        self._files = [TemporaryFile()]  # noqa: SIM115  # closed by close
        self._loudest = 0
        self.n_columns = [0]  # of each level
        self.n_bytes = 0

    def add(self, samples: Tensor) -> None:
        """Take the next samples.

        Args:
            samples: (samples,).
        """
        self._rest = torch.cat([self._rest, samples])
        if len(self._rest) >= _BLOCK_S * self._front_end.sample_rate:
            self._take(self._rest)

    def finish(self) -> None:
        """Take the end of the recording, and make the coarser levels."""
        missing = self._front_end.window_samples - len(self._rest)
        self._take(torch.nn.functional.pad(self._rest, (0, max(0, missing))))
        while self.n_columns[-1] > TILE_COLUMNS:
            self._add_level()

    def tile(self, level: int, index: int) -> bytes | None:
        """Draw a tile.

        Args:
            level: 0 for the finest.
            index: 0 for the first TILE_COLUMNS columns of the level.

        Returns:
            A PNG with the highest band on top; None where there is no such tile.
        """
        if not 0 <= level < len(self._files):
            return None
        columns = self._read(level, index * TILE_COLUMNS, TILE_COLUMNS)
        if index < 0 or not len(columns):
            return None
        per_db = 255 / (CEILING_DB - FLOOR_DB)
        shown = (columns.astype(np.float32) - self._loudest) / (RANGE_DB * per_db) + 1
        return png((255 * shown.clip(0, 1)).astype(np.uint8).T[::-1])

    def close(self) -> None:
        """Delete the files."""
        for file in self._files:
            file.close()

    def _take(self, samples: Tensor) -> None:
        """Turn samples into columns; what is left over waits for more."""
        decibels = audio.to_decibels(
            audio.log_mel_spectrogram(samples, self._front_end), self._front_end
        )
        self._rest = samples[len(decibels) * self._front_end.shift_samples :]
        share = (decibels.numpy() - FLOOR_DB) / (CEILING_DB - FLOOR_DB)
        self._write(0, (255 * share.clip(0, 1)).astype(np.uint8))

    def _write(self, level: int, columns: _Bytes) -> None:
        self._loudest = max(self._loudest, int(columns.max(initial=0)))
        self._files[level].seek(0, 2)
        self.n_bytes += self._files[level].write(columns.tobytes())
        self.n_columns[level] += len(columns)

    def _read(self, level: int, first: int, count: int) -> _Bytes:
        self._files[level].seek(max(0, first) * N_BANDS)
        data = self._files[level].read(count * N_BANDS)
        return np.frombuffer(data, np.uint8).reshape(-1, N_BANDS)

    def _add_level(self) -> None:
        """Make a level from the last one: the loudest of each few columns."""
        level = len(self._files)
        self._files.append(TemporaryFile())  # noqa: SIM115
        self.n_columns.append(0)
        for first in range(0, self.n_columns[level - 1], LEVEL_FACTOR * TILE_COLUMNS):
            columns = self._read(level - 1, first, LEVEL_FACTOR * TILE_COLUMNS)
            ends = np.arange(0, len(columns), LEVEL_FACTOR)
            self._write(level, np.maximum.reduceat(columns, ends, axis=0))


def png(picture: _Bytes) -> bytes:
    """Write a picture as a PNG whose colors go from black by violet and red to light yellow.

    Args:
        picture: (rows, columns).

    Returns:
        The file.

    Examples:
        >>> png(np.zeros((2, 3), np.uint8))[1:4]
        b'PNG'
    """
    height, width = picture.shape
    rows = np.zeros((height, width + 1), np.uint8)  # the first byte of a row: stored as it is
    rows[:, 1:] = picture
    position = np.linspace(0, len(_PALETTE) - 1, 256)
    anchors = np.array(_PALETTE, np.float64).T
    colors = np.stack([np.interp(position, range(len(_PALETTE)), one) for one in anchors], axis=1)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", colors.round().astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 3)),
        (b"IEND", b""),
    )
    written = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)
