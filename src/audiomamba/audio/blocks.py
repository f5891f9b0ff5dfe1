"""Recordings read block by block, so that memory does not grow with their length.

soundfile reads wav, flac, ogg, opus, mp3, aiff and more; PyAV (the extra `media`) reads m4a,
mp4, webm and other containers.
"""

import io
import os
from collections.abc import Callable, Iterator
from os import PathLike
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
from audiomamba.audio.mono import RATES_HZ, as_rate
from audiomamba.audio.resample import resample_blocks
from audiomamba.errors import AudioError, ConfigError, MissingDependencyError

__all__ = ["Blocks", "OnDamage", "Source", "check_sound", "stream"]

OnDamage = Callable[[AudioError], object]
Source = str | PathLike[str] | PathLike[bytes] | bytes | bytearray | memoryview | BinaryIO

LARGEST_SAMPLE = 1e6
LEAST_READ = 0.75  # share of a damaged recording that must be readable for it to be of use


class Blocks(Iterator[Tensor]):
    """A recording that is being read: mono blocks (samples,), float32, that follow one another.

    Args:
        file: an open file.
        name: what messages call it.
        sample_rate: the wanted rate in Hz; None for the recording's own.
        owned: whether the file is closed with the blocks.
        on_damage: as for stream.

    Raises:
        AudioError: the file is empty or not audio; from the blocks: it is damaged, cut short, has
            no samples, or samples that are not finite numbers. The message names the file.
        MissingDependencyError: the file needs PyAV, and it is not installed.

    Examples:
        >>> with open("my-clips/dog/1.wav", "rb") as file:
        ...     blocks = Blocks(file, "a clip", 16_000, owned=False)
        ...     len(next(blocks))
        8000
    """

    sample_rate: int  # of the blocks, in Hz
    n_channels: int  # of the recording, before they are mixed
    declared_s: float | None  # how long the file says that it is; None where it does not

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        sample_rate: int | None,
        *,
        owned: bool,
        on_damage: OnDamage | None = None,
    ) -> None:
        self._file, self._name, self._owned, self._on_damage = file, name, owned, on_damage
        self._blocks: Iterator[Tensor] = iter(())
        try:
            stream = self._open()
        except BaseException:
            self.close()
            raise
        self.sample_rate = stream.rate_hz if sample_rate is None else sample_rate
        self.n_channels, self.declared_s = stream.n_channels, stream.declared_s
        self._blocks = self._read(stream)

    def __next__(self) -> Tensor:
        return next(self._blocks)

    def close(self) -> None:
        """Stop reading; a file that was given open stays open."""
        self._blocks = iter(())
        if self._owned:
            self._file.close()

    def _open(self) -> Stream:
        """Find the decoder."""
        self._file.seek(0)
        if not self._file.read(1):
            raise AudioError(f"{self._name}: the file is empty (0 bytes)")
        self._file.seek(0)
        stream = open_stream(self._file, self._name)
        if stream.rate_hz not in RATES_HZ:
            raise AudioError(
                f"{self._name}: its rate is {stream.rate_hz} Hz; expected 1000 to 1000000 Hz"
            )
        return stream

    def _read(self, stream: Stream) -> Iterator[Tensor]:
        """The blocks at the wanted rate; the file is closed after the last."""
        n_samples = 0
        try:
            blocks = self._decode(stream)
            for block in resample_blocks(blocks, stream.rate_hz, self.sample_rate):
                if block.size:
                    n_samples += block.size
                    yield torch.from_numpy(block)
        except OSError as error:
            raise _unreadable(self._name, error) from error
        finally:
            if self._owned:
                self._file.close()
        if not n_samples:
            raise AudioError(f"{self._name}: the recording has no samples")

    def _decode(self, stream: Stream) -> Iterator[Samples]:
        """The blocks at the recording's own rate; raise for what is no sound and for damage."""
        first, n_samples, n_skipped = stream, 0, 0
        met, broken = "", None
        while True:
            try:
                for block in _after(stream.blocks, n_skipped):
                    check_sound(block, self._name, n_samples / first.rate_hz)
                    n_samples += block.size
                    yield block
            except BrokenStreamError as error:
                broken = error
            except UnfinishedError as error:
                met = str(error)
                if (other := self._other_decoder(first, is_damaged=bool(met))) is not None:
                    stream, n_skipped = other, n_samples
                    continue
            break
        if met and broken is None and (stream is first or first.declared_s is None):
            broken = BrokenStreamError(met)
        self._judge(first, stream, n_samples / first.rate_hz, broken)

    def _other_decoder(self, first: Stream, *, is_damaged: bool) -> Stream | None:
        """The file from its beginning by the other decoder; None if that cannot read it either."""
        self._file.seek(0)
        kind = "an mp3 that is damaged or does not say its length"
        try:
            other = open_with_av(self._file, self._name, kind)
        except (AudioError, MissingDependencyError):
            if not is_damaged:
                raise
            return None
        return other if other.rate_hz == first.rate_hz else None

    def _judge(
        self, first: Stream, last: Stream, read_s: float, broken: BrokenStreamError | None
    ) -> None:
        """Say if a recording is damaged of which so much was read."""
        declared_s = last.declared_s if first.declared_s is None else first.declared_s
        reason = f" ({broken})" if broken else ""
        if declared_s is not None and read_s < declared_s - last.tolerance_s:
            part = f"{read_s:.2f} s of {declared_s:.2f} s"
            error = AudioError(
                f"{self._name}: damaged or cut short, only {part} can be read{reason}"
            )
        elif broken is not None:
            after_s = read_s if broken.after_s is None else broken.after_s
            error = AudioError(f"{self._name}: damaged after {after_s:.2f} s{reason}")
        else:
            return
        about_s = declared_s or first.about_s or last.about_s
        if self._on_damage is None or not about_s or read_s < LEAST_READ * about_s:
            raise error
        self._on_damage(error)


def stream(
    source: Source, *, sample_rate: int | None = None, on_damage: OnDamage | None = None
) -> Blocks:
    """Read a recording block by block: decoded, mixed to mono, at the wanted rate.

    Args:
        source: a path, the bytes of a file, or a binary file object, which is read from its
            beginning and left open.
        sample_rate: the wanted rate in Hz; None for the recording's own.
        on_damage: what to call with the error, after the last block, where a damaged recording is
            readable for three quarters at least, so that these are of use: what cannot be decoded
            is left out. None to raise it.

    Returns:
        Its blocks, which joined are what load gives. Their field sample_rate is their rate,
        n_channels the channels that were mixed, declared_s the length that the file claims, in
        seconds, or None.

    Raises:
        AudioError: the file is missing, a folder, empty, or not audio; and from the blocks: it is
            damaged, cut short, has no samples, or samples that are not finite numbers. The message
            names the file.
        MissingDependencyError: the file needs PyAV, and it is not installed.
        ConfigError: sample_rate is out of range, or the source is something else.

    Examples:
        >>> blocks = stream("my-clips/dog/1.wav")
        >>> blocks.sample_rate, blocks.declared_s
        (16000, 0.5)
        >>> sum(len(block) for block in blocks)
        8000
    """
    sample_rate = None if sample_rate is None else as_rate(sample_rate)
    if isinstance(source, bytes | bytearray | memoryview):
        return Blocks(
            io.BytesIO(source), "audio data", sample_rate, owned=True, on_damage=on_damage
        )
    if not isinstance(source, str | PathLike):
        given = getattr(source, "name", None)
        name = given if isinstance(given, str) else "audio data"
        file = _seekable(_binary(source, name))
        return Blocks(file, name, sample_rate, owned=False, on_damage=on_damage)
    path = Path(os.fsdecode(source))
    try:
        # Without a buffer of its own, the file can be read by libsndfile directly.
        file = path.open("rb", buffering=0)
        if not file.seekable():
            with file:
                return Blocks(
                    _seekable(file), str(path), sample_rate, owned=True, on_damage=on_damage
                )
        return Blocks(file, str(path), sample_rate, owned=True, on_damage=on_damage)
    except FileNotFoundError as error:
        raise AudioError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise AudioError(f"{path}: a folder; expected an audio file") from error
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise _unreadable(str(path), error) from error


def check_sound(block: Samples, name: str, start_s: float) -> None:
    """Refuse samples that cannot be sound.

    Args:
        block: (samples,).
        name: what messages call the recording.
        start_s: where in it the block begins, in seconds.

    Raises:
        AudioError: a sample is NaN, infinite or huge.
    """
    if block.size and not np.abs(block).max() <= LARGEST_SAMPLE:
        raise AudioError(
            f"{name}: holds samples that are NaN, infinite or beyond {LARGEST_SAMPLE:g} "
            f"after {start_s:.2f} s; expected about -1 to 1"
        )


def _unreadable(name: str, error: OSError | ValueError) -> AudioError:
    reason = getattr(error, "strerror", None) or "cannot be read"
    return AudioError(f"{name!r}: {reason}" if "\0" in name else f"{name}: {reason.lower()}")


def _binary(source: object, name: str) -> BinaryIO:
    """The source, if it is a file that is open for reading bytes."""
    if not hasattr(source, "read"):
        raise ConfigError(
            f"{type(source).__name__} was given for a recording; expected a path, the bytes of a "
            "file, or a file that is open for reading bytes"
        )
    if isinstance(source, io.TextIOBase):
        raise ConfigError(f"{name}: open for reading text; expected bytes, as open(path, 'rb')")
    if getattr(source, "closed", False):
        raise ConfigError(f"{name}: the file is closed; expected one that is open")
    return source  # type: ignore[return-value]  # as far as it can be known


def _seekable(file: BinaryIO) -> BinaryIO:
    """The file itself, or its contents where it is a pipe."""
    seekable = hasattr(file, "seekable") and file.seekable()
    return file if seekable else io.BytesIO(file.read())


def _after(blocks: Iterator[Samples], n_skipped: int) -> Iterator[Samples]:
    """The blocks without the first samples."""
    for block in blocks:
        yield block[n_skipped:]
        n_skipped = max(0, n_skipped - block.size)
