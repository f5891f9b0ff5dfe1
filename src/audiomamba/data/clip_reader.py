"""Sound of a clip, whatever holds it: an audio file, a member of a tar file, a row of an HDF5 file.

Every clip says by itself where its samples are (Clip.path, Clip.key, Clip.start_s, Clip.end_s), so
that clips can be read in any order by any process. All else follows from this random access: an
epoch is a permutation of indices, ranks and workers share it out by stride, and a run goes on in
the middle of an epoch by skipping the indices that were seen.
"""

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from audiomamba import audio
from audiomamba.audio.resample import resample
from audiomamba.data.clips import Clip
from audiomamba.data.open_files import HDF5_SUFFIXES, open_hdf5, read_tar
from audiomamba.errors import AudioError, DataError

if TYPE_CHECKING:
    import h5py

__all__ = [
    "Examined",
    "check_header",
    "digest_of",
    "examine_recording",
    "load_clip",
]

PACK_SCALE = 32_767  # what those who pack waveforms as 16-bit integers multiply them by
BLOCK_BYTES = 1 << 20


class Examined(NamedTuple):
    """What reading a whole recording has shown.

    Args:
        sample_rate: its rate in Hz.
        seconds: how long it is.
        digest: BLAKE2b of 128 bits in hex: of a file's bytes, or of the bytes of an HDF5 row.
    """

    sample_rate: int
    seconds: float
    digest: str


def load_clip(clip: Clip, sample_rate: int) -> Tensor:
    """Decode one clip.

    Args:
        clip: a recording, or a piece of one.
        sample_rate: rate to decode to, in Hz.

    Returns:
        (samples,) float32.

    Raises:
        AudioError: the file cannot be read.
        DataError: the piece lies outside the recording, or the file has no such recording.
        MissingDependencyError: the file is an HDF5 file and h5py is not installed.
    """
    if clip.key and clip.path.suffix in HDF5_SUFFIXES:
        return _load_row(clip, sample_rate)
    source = _member(clip.path, clip.key) if clip.key else clip.path
    waveform = audio.load(source, sample_rate=sample_rate)
    end = None if clip.end_s is None else round(clip.end_s * sample_rate)
    piece = waveform[round(max(0.0, clip.start_s) * sample_rate) : end]
    return _not_empty(piece, clip, len(waveform) / sample_rate)


def check_header(clip: Clip) -> None:
    """Refuse a clip whose recording is missing, or by its header not sound; nothing is decoded.

    Args:
        clip: a recording, or a piece of one.

    Raises:
        AudioError: the file is missing or not audio.
        DataError: the file has no such recording.
        MissingDependencyError: the file needs an extra that is not installed.
    """
    if clip.key and clip.path.suffix in HDF5_SUFFIXES:
        _row(clip.path, clip.key)
    else:
        audio.stream(_member(clip.path, clip.key) if clip.key else clip.path).close()


def examine_recording(path: Path, key: str, sample_rate: int | None) -> Examined:
    """Read a recording from beginning to end.

    Args:
        path: the file.
        key: which recording in it, as Clip.key.
        sample_rate: rate of an HDF5 file's rows in Hz, where the file does not say it.

    Returns:
        Its rate, length and hash.

    Raises:
        AudioError: it cannot be read.
        DataError: the file has no such recording.
        MissingDependencyError: the file is an HDF5 file and h5py is not installed.
    """
    if key and path.suffix in HDF5_SUFFIXES:
        return _examine_row(path, key, sample_rate)
    source = _member(path, key) if key else path
    blocks = audio.stream(source)
    n_samples = sum(len(block) for block in blocks)
    return Examined(blocks.sample_rate, n_samples / blocks.sample_rate, _hash(source))


def digest_of(clip: Clip) -> str:
    """Hash the recording that a clip is from, unless its manifest says the hash.

    Args:
        clip: a recording, or a piece of one.

    Returns:
        The hash, as Clip.digest.

    Raises:
        AudioError: it cannot be read.
        DataError: the file has no such recording.
        MissingDependencyError: the file is an HDF5 file and h5py is not installed.
    """
    if clip.digest is not None:
        return clip.digest
    if clip.key and clip.path.suffix in HDF5_SUFFIXES:
        return _examine_row(clip.path, clip.key, clip.sample_rate).digest
    return _hash(_member(clip.path, clip.key) if clip.key else clip.path)


def _hash(source: "Path | _Member") -> str:
    """BLAKE2b of 128 bits of all bytes, in hex."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with source.open("rb") if isinstance(source, Path) else source as file:
            file.seek(0)
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise AudioError(f"{source}: {(error.strerror or 'cannot be read').lower()}") from error
    return digest.hexdigest()


class _Member(io.BytesIO):
    """The bytes of a recording, with a name for messages."""

    name = ""


def _member(path: Path, key: str) -> _Member:
    """Read one member of a tar file."""
    offset, plus, size = key.partition("+")
    if not (plus and offset.isdecimal() and size.isdecimal()):
        raise DataError(f"{path}: the key is {key!r}; expected OFFSET+SIZE of a tar file's member")
    data = read_tar(path, int(size), int(offset))
    member = _Member(data)
    member.name = f"{path}#{key}"
    if len(data) < int(size):
        raise AudioError(f"{member.name}: cut short, only {len(data)} of {size} bytes are there")
    return member


def _row(path: Path, key: str) -> tuple["h5py.Dataset", int | None]:
    """The dataset that holds a recording, and the row, if it is not the whole."""
    file = open_hdf5(path)
    if key in file:
        return file[key], None
    name, _, row = key.rpartition("/")
    if name not in file or not row.isdecimal() or int(row) >= len(file[name]):
        raise DataError(f"{path}: has no recording {key!r}; expected DATASET or DATASET/ROW")
    return file[name], int(row)


def _rate_of(path: Path, sample_rate: int | None) -> int:
    """The rate of an HDF5 file's rows."""
    rate = sample_rate or open_hdf5(path).attrs.get("sample_rate")
    if rate is None:
        raise DataError(f"{path}: no attribute sample_rate; expected the rows' rate in Hz")
    return int(rate)


def _load_row(clip: Clip, sample_rate: int) -> Tensor:
    """Read a piece of an HDF5 row."""
    dataset, row = _row(clip.path, clip.key)
    rate_hz = _rate_of(clip.path, clip.sample_rate)
    end = None if clip.end_s is None else round(clip.end_s * rate_hz)
    piece = slice(round(max(0.0, clip.start_s) * rate_hz), end)
    samples = _to_float(dataset[piece] if row is None else dataset[row, piece])
    waveform = resample(torch.from_numpy(samples), rate_hz, sample_rate)
    return _not_empty(waveform, clip, dataset.shape[-1] / rate_hz)


def _examine_row(path: Path, key: str, sample_rate: int | None) -> Examined:
    """Read a whole HDF5 row."""
    dataset, row = _row(path, key)
    rate_hz, n_samples = _rate_of(path, sample_rate), dataset.shape[-1]
    if not n_samples:
        raise AudioError(f"{path}#{key}: the recording has no samples")
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, n_samples, BLOCK_BYTES):
        piece = slice(start, start + BLOCK_BYTES)
        block = dataset[piece] if row is None else dataset[row, piece]
        if not np.isfinite(_to_float(block)).all():
            raise AudioError(f"{path}#{key}: holds samples that are NaN or infinite")
        digest.update(np.ascontiguousarray(block).data)
    return Examined(rate_hz, n_samples / rate_hz, digest.hexdigest())


def _to_float(samples: np.ndarray) -> np.ndarray:
    """Samples as float32; integers are taken as those of 16 bits."""
    if samples.dtype.kind in "iu":
        return samples.astype(np.float32) / np.float32(PACK_SCALE)
    return samples.astype(np.float32)


def _not_empty(piece: Tensor, clip: Clip, length_s: float) -> Tensor:
    """The piece, if there is something in it."""
    if not len(piece):
        raise DataError(
            f"{clip.path}: the piece {clip.start_s}-{clip.end_s} s is empty; "
            f"the file is {length_s:.2f} s long"
        )
    return piece
