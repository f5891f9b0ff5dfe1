"""Sound that comes by a pipe: wav, the length of which may be unknown, or raw samples."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from audiomamba.audio.blocks import check_sound
from audiomamba.audio.chunk_sizes import LEAST_LEFT, more_samples_follow
from audiomamba.audio.decode import UNKNOWN_SIZE, Samples
from audiomamba.audio.mono import MOST_CHANNELS, RATES_HZ, Mixer
from audiomamba.audio.resample import resample_blocks
from audiomamba.errors import AudioError, ConfigError

__all__ = ["RawSound", "read_pipe"]

Encoding = Literal["u8", "s16", "s24", "s32", "f32", "f64"]

NAME = "standard input"
LARGEST_READ = 1 << 16  # bytes
LARGEST_FORMAT = 1 << 10  # bytes of a wav file's format chunk that are looked at
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # format tags of wav


@dataclass(frozen=True, slots=True)
class RawSound:
    """How samples without a header are to be read; the lowest byte comes first.

    Args:
        rate_hz: samples per second.
        encoding: "u8" without sign, "s16", "s24", "s32" with sign, "f32", "f64" from -1 to 1.
        n_channels: samples at each moment, one after the other.

    Raises:
        ConfigError: a value is out of its range.
    """

    rate_hz: int
    encoding: Encoding = "s16"
    n_channels: int = 1

    def __post_init__(self) -> None:
        if self.rate_hz not in RATES_HZ:
            raise ConfigError(f"the rate is {self.rate_hz} Hz; expected 1000 to 1000000 Hz")
        if self.encoding not in get_args(Encoding):
            known = ", ".join(get_args(Encoding))
            raise ConfigError(f"samples are {self.encoding!r}; expected one of {known}")
        if not 1 <= self.n_channels <= MOST_CHANNELS:
            raise ConfigError(
                f"there are {self.n_channels} channels; expected 1 to {MOST_CHANNELS}"
            )

    @property
    def frame_bytes(self) -> int:
        """Bytes of one moment."""
        return int(self.encoding[1:]) // 8 * self.n_channels

    @classmethod
    def parse(cls, text: str) -> "RawSound":
        """Read a description.

        Args:
            text: RATE[:ENCODING[:CHANNELS]], such as "16000", "48000:f32" or "44100:s16:2".

        Returns:
            What it says.

        Raises:
            ConfigError: it says nothing that can be.
        """
        rate, *others = text.split(":")
        encoding, channels = (*others, "s16", "1")[:2] if not others else (*others, "1")[:2]
        if len(others) > 2 or not rate.isdecimal() or not channels.isdecimal():
            raise ConfigError(
                f"raw sound is {text!r}; expected RATE[:ENCODING[:CHANNELS]], such as 16000:s16:1"
            )
        return cls(int(rate), encoding, int(channels))  # type: ignore[arg-type]  # checked there


def read_pipe(file: BinaryIO, sample_rate: int, raw: RawSound | None = None) -> Iterator[Tensor]:
    """Read sound as it comes, mixed to mono and at the wanted rate.

    Args:
        file: need not be seekable; a read gives what there is, and waits if there is nothing.
        sample_rate: the wanted rate in Hz.
        raw: how samples without a header are to be read; None for wav.

    Yields:
        Blocks (samples,) float32, until the input ends.

    Raises:
        AudioError: the input is empty or not wav, holds samples that are not finite numbers, or
            none at all.
    """
    n_bytes = None
    if raw is None:
        raw, n_bytes = _wav_header(file)
    decoded = _decode(_frames(file, raw, n_bytes), raw)
    n_samples = 0
    for block in resample_blocks(decoded, raw.rate_hz, sample_rate):
        if block.size:
            n_samples += block.size
            yield torch.from_numpy(block)
    if not n_samples:
        raise AudioError(f"{NAME}: no samples came")


def _frames(file: BinaryIO, raw: RawSound, n_bytes: int | None) -> Iterator[bytes]:
    """Whole frames, as they come: n_bytes, and more where these are not all."""
    rest = b""
    while True:
        if n_bytes == 0:
            after = _exactly(file, LEAST_LEFT)
            if not more_samples_follow(after):
                return
            n_bytes, rest = None, rest + after
        wanted = LARGEST_READ if n_bytes is None else min(LARGEST_READ, n_bytes)
        read = file.read1(wanted) if hasattr(file, "read1") else file.read(wanted)
        if not read:
            return
        n_bytes = None if n_bytes is None else n_bytes - len(read)
        rest += read
        n_whole = len(rest) // raw.frame_bytes * raw.frame_bytes
        if n_whole:
            yield rest[:n_whole]
            rest = rest[n_whole:]


def _decode(frames: Iterator[bytes], raw: RawSound) -> Iterator[Samples]:
    """Bytes to mono samples."""
    n_samples = 0
    for samples in _mixed(frames, raw):
        if not samples.size:
            continue
        check_sound(samples, NAME, n_samples / raw.rate_hz)
        n_samples += samples.size
        yield samples


def _mixed(frames: Iterator[bytes], raw: RawSound) -> Iterator[Samples]:
    """Bytes to mono samples, which may be anything."""
    mixer = Mixer()
    for data in frames:
        yield mixer.add(_to_float(data, raw.encoding).reshape(-1, raw.n_channels))
    yield mixer.finish()


def _to_float(data: bytes, encoding: Encoding) -> Samples:
    """Bytes to samples from -1 to 1."""
    if encoding in ("f32", "f64"):
        return np.frombuffer(data, f"<f{int(encoding[1:]) // 8}").astype(np.float32)
    if encoding == "u8":
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
    if encoding == "s24":  # as the upper bytes of 32 bits
        wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, encoding = wide.tobytes(), "s32"
    n_bytes = int(encoding[1:]) // 8
    full_scale = np.float32(2 ** (8 * n_bytes - 1))
    return np.frombuffer(data, f"<i{n_bytes}").astype(np.float32) / full_scale


def _wav_header(file: BinaryIO) -> tuple[RawSound, int | None]:
    """What a wav file's header says, and how many bytes of samples follow; None if unknown."""
    head = _exactly(file, 12)
    if not head:
        raise AudioError(f"{NAME}: nothing came")
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise AudioError(f"{NAME}: not wav; expected wav, or raw samples described by --raw")
    raw = None
    while len(chunk := _exactly(file, 8)) == 8:
        size = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data" and raw is not None:
            known = head[:4] == b"RIFF" and 0 < size < UNKNOWN_SIZE
            return raw, size if known else None
        n_bytes = size + size % 2
        if chunk[:4] == b"fmt ":
            content = _exactly(file, min(n_bytes, LARGEST_FORMAT))
            raw = _format(content)
            n_bytes -= len(content)
        _skip(file, n_bytes)
    raise AudioError(f"{NAME}: the wav header is damaged or cut short")


def _format(content: bytes) -> RawSound:
    """What the format chunk of a wav file says."""
    if len(content) < 16:
        raise AudioError(f"{NAME}: the wav header is damaged or cut short")
    tag, n_channels, rate_hz, _, _, n_bits = struct.unpack("<HHIIHH", content[:16])
    if tag == EXTENSIBLE and len(content) >= 26:
        tag = int.from_bytes(content[24:26], "little")
    kind = {PCM: "u" if n_bits == 8 else "s", FLOAT: "f"}.get(tag, "format ")
    try:
        return RawSound(rate_hz, f"{kind}{n_bits}", n_channels)  # type: ignore[arg-type]
    except ConfigError as error:
        raise AudioError(f"{NAME}: its wav header cannot be read: {error}") from error


def _skip(file: BinaryIO, n_bytes: int) -> None:
    """Read so many bytes, or what there is before the end, and forget them."""
    while n_bytes > 0 and (read := file.read(min(n_bytes, LARGEST_READ))):
        n_bytes -= len(read)


def _exactly(file: BinaryIO, n_bytes: int) -> bytes:
    """So many bytes, or what there is before the end."""
    data = b""
    while len(data) < n_bytes and (read := file.read(n_bytes - len(data))):
        data += read
    return data
