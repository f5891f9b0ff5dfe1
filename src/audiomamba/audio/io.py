"""Decoding recordings to mono waveforms.

soundfile reads wav, flac, ogg, opus, mp3, aiff and more; PyAV (the extra `media`) reads m4a,
mp4, webm and other containers. Files are decoded block by block, so that memory holds only the
mono result at the wanted rate.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from audiomamba.audio.decode import (
    BrokenStreamError,
    Samples,
    Stream,
    UnfinishedError,
    open_stream,
    open_with_av,
)
from audiomamba.audio.resample import resample_blocks
from audiomamba.errors import AudioError, ConfigError

__all__ = ["load"]

RATES_HZ = range(1_000, 1_000_001)
LARGEST_SAMPLE = 1e6


def load(source: str | Path | BinaryIO, *, sample_rate: int) -> Tensor:
    """Decode a recording to mono at the wanted rate.

    Args:
        source: a path, or a binary file object, which is read from its beginning and left open.
        sample_rate: the wanted rate in Hz.

    Returns:
        (samples,), float32, the mean of the recording's channels, around -1 to 1.

    Raises:
        AudioError: the file is missing, a folder, empty, not audio, cut short, or has no samples,
            or samples that are not finite numbers. The message names the file.
        MissingDependencyError: the file needs PyAV, and it is not installed.
        ConfigError: sample_rate is out of range.
    """
    if sample_rate not in RATES_HZ:
        raise ConfigError(
            f"sample_rate is {sample_rate} Hz; expected a whole number from 1000 to 1000000"
        )
    if not isinstance(source, str | Path):
        return _decode(_seekable(source), _name_of(source), sample_rate)
    path = Path(source)
    try:
        with path.open("rb") as file:
            return _decode(file, str(path), sample_rate)
    except FileNotFoundError as error:
        raise AudioError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise AudioError(f"{path}: a folder; expected an audio file") from error
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise AudioError(f"{path}: {reason}") from error


def _name_of(file: BinaryIO) -> str:
    """A name for messages."""
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else "audio data"


def _seekable(file: BinaryIO) -> BinaryIO:
    """The file itself, or its contents where it is a pipe."""
    return file if file.seekable() else io.BytesIO(file.read())


def _decode(file: BinaryIO, name: str, sample_rate: int) -> Tensor:
    """Decode an open file to mono at the wanted rate."""
    file.seek(0)
    if not file.read(1):
        raise AudioError(f"{name}: the file is empty (0 bytes)")
    file.seek(0)
    try:
        return _collect(open_stream(file, name), name, sample_rate)
    except UnfinishedError:
        file.seek(0)
        stream = open_with_av(file, name, "an mp3 that is damaged or does not tell its length")
        return _collect(stream, name, sample_rate)


def _collect(stream: Stream, name: str, sample_rate: int) -> Tensor:
    """Decode, check and resample a stream to one waveform."""
    if stream.rate_hz not in RATES_HZ:
        raise AudioError(f"{name}: its rate is {stream.rate_hz} Hz; expected 1000 to 1000000 Hz")
    samples = bytearray()  # grows in place, so that the waveform is held only once
    for block in resample_blocks(_checked(stream, name), stream.rate_hz, sample_rate):
        samples += block.tobytes()
    if not samples:
        raise AudioError(f"{name}: the recording has no samples")
    return torch.frombuffer(samples, dtype=torch.float32)


def _checked(stream: Stream, name: str) -> Iterator[Samples]:
    """Pass the blocks on; raise for samples that are not numbers and for files cut short."""
    n_samples = 0
    broken = ""
    try:
        for block in stream.blocks:
            if block.size and not np.abs(block).max() <= LARGEST_SAMPLE:
                raise AudioError(
                    f"{name}: holds samples that are NaN, infinite or beyond {LARGEST_SAMPLE:g} "
                    f"after {n_samples / stream.rate_hz:.2f} s; expected about -1 to 1"
                )
            n_samples += block.size
            yield block
    except BrokenStreamError as error:
        broken = f" ({error})"
    read_s, declared_s = n_samples / stream.rate_hz, stream.declared_s
    if declared_s is not None and read_s < declared_s - stream.tolerance_s:
        raise AudioError(
            f"{name}: damaged or cut short, only {read_s:.2f} s of {declared_s:.2f} s can be read"
            f"{broken}"
        )
    if broken:
        raise AudioError(f"{name}: damaged after {read_s:.2f} s{broken}")
