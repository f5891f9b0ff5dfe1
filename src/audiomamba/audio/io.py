"""Decoding recordings to mono waveforms.

soundfile reads wav, flac, ogg, opus, mp3, aiff and more; PyAV (the extra `media`) reads m4a,
mp4, webm and other containers. Files are decoded block by block, so that memory holds only the
mono result at the wanted rate.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiomamba.audio.resample import resample_blocks
from audiomamba.errors import AudioError, ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from av import AudioStream
    from av.container import InputContainer

__all__ = ["load"]

Samples = NDArray[np.float32]

RATES_HZ = range(1_000, 1_000_001)
BLOCK_VALUES = 1 << 16
LARGEST_SAMPLE = 1e6
UNKNOWN_SIZE = 0x7FFF_0000  # writers to a pipe put such sizes where they know none

# What the first bytes of the containers look like that only PyAV opens: (offset, bytes).
MEDIA_MARKS = {
    "mp4": (4, b"ftyp"),
    "webm or mkv": (0, b"\x1a\x45\xdf\xa3"),
    "wma or wmv": (0, b"\x30\x26\xb2\x75"),
    "amr": (0, b"#!AMR"),
    "ape": (0, b"MAC "),
    "wavpack": (0, b"wvpk"),
    "avi": (8, b"AVI "),
}
# FFmpeg's names of the formats that PyAV may open: none that refers to other files or addresses.
MEDIA_FORMATS = (
    "mov,matroska,asf,amr,ape,wv,avi,aac,ac3,eac3,aiff,au,caf,dts,flac,flv,mp3,mpeg,mpegts,ogg,rm,"
    "tta,w64,wav"
)


@dataclass(frozen=True)
class _Stream:
    """A recording being decoded: mono blocks (samples,) at rate_hz."""

    rate_hz: int
    blocks: Iterator[Samples]
    declared_s: float | None  # how long the file says it is
    tolerance_s: float  # how much less than that may come out of a whole file


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
    head = file.read(16)
    file.seek(0)
    if not head:
        raise AudioError(f"{name}: the file is empty (0 bytes)")
    stream = _open(file, name, head)
    if stream.rate_hz not in RATES_HZ:
        raise AudioError(f"{name}: its rate is {stream.rate_hz} Hz; expected 1000 to 1000000 Hz")
    samples = bytearray()
    checked = _checked(stream, name)
    for block in resample_blocks(checked, stream.rate_hz, sample_rate):
        samples += block.tobytes()
    if not samples:
        raise AudioError(f"{name}: the recording has no samples")
    return torch.frombuffer(samples, dtype=torch.float32)


def _open(file: BinaryIO, name: str, head: bytes) -> _Stream:
    """Choose the decoder by the first bytes, not by the name."""
    for kind, (offset, mark) in MEDIA_MARKS.items():
        if head[offset : offset + len(mark)] == mark:
            return _open_with_av(file, name, kind)
    try:
        return _open_with_soundfile(file)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".").lower()
    file.seek(0)
    try:
        return _open_with_av(file, name, "this file")
    except MissingDependencyError as error:
        raise AudioError(
            f"{name}: not audio that can be read ({reason}); "
            "more formats are read with pip install 'audiomamba[media]'"
        ) from error


def _open_with_soundfile(file: BinaryIO) -> _Stream:
    """Decode with libsndfile."""
    sound = soundfile.SoundFile(file)
    declared_s = None if sound.format == "MP3" else _declared_s(sound)
    return _Stream(sound.samplerate, _soundfile_blocks(sound), declared_s, tolerance_s=0.1)


def _declared_s(sound: soundfile.SoundFile) -> float:
    """Seconds that the header promises; libsndfile notes in its log where the file holds less."""
    size = re.search(
        r"^ *(?:data|SSND) *: (\d+) \(should be (\d+)\)", sound.extra_info, re.MULTILINE
    )
    seconds: float = sound.frames / sound.samplerate
    if size is None or not 0 < int(size[2]) < int(size[1]) < UNKNOWN_SIZE:
        return seconds
    return seconds * int(size[1]) / int(size[2])


def _soundfile_blocks(sound: soundfile.SoundFile) -> Iterator[Samples]:
    """Mono blocks until the decoder has no more."""
    block = np.empty((max(1, BLOCK_VALUES // sound.channels), sound.channels), dtype=np.float32)
    with sound:
        while len(frames := sound.read(out=block)):
            yield frames.mean(axis=1)


def _open_with_av(file: BinaryIO, name: str, kind: str) -> _Stream:
    """Decode the best audio stream of a container with PyAV."""
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError("PyAV", "media", f"{name}: reading {kind}") from error
    try:
        container = av.open(file, "r", options={"format_whitelist": MEDIA_FORMATS})
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError(f"{name}: not audio or video that can be read") from error
    stream = container.streams.best("audio")
    if not isinstance(stream, av.AudioStream):
        raise AudioError(f"{name}: holds no sound")
    length_s = None
    if stream.duration is not None and stream.time_base is not None:
        length_s = float(stream.duration * stream.time_base)
    return _Stream(
        stream.rate, _av_blocks(container, stream, name), length_s, 0.5 + 0.01 * (length_s or 0)
    )


def _av_blocks(container: "InputContainer", stream: "AudioStream", name: str) -> Iterator[Samples]:
    """Mono blocks until the stream ends."""
    import av

    to_float = av.AudioResampler(format="fltp")
    try:
        with container:
            for frame in container.decode(stream):
                for part in to_float.resample(frame):
                    yield part.to_ndarray().mean(axis=0)
    except (av.FFmpegError, ValueError) as error:
        raise AudioError(f"{name}: damaged, or changes its format on the way") from error


def _checked(stream: _Stream, name: str) -> Iterator[Samples]:
    """Pass the blocks on; raise for samples that are not numbers and for files cut short."""
    n_samples = 0
    try:
        for block in stream.blocks:
            if block.size and not np.abs(block).max() <= LARGEST_SAMPLE:
                raise AudioError(
                    f"{name}: holds samples that are NaN, infinite or beyond {LARGEST_SAMPLE:g} "
                    f"after {n_samples / stream.rate_hz:.2f} s; expected about -1 to 1"
                )
            n_samples += block.size
            yield block
    except soundfile.LibsndfileError as error:
        broken: str | None = error.error_string.rstrip(".").lower()
    else:
        broken = None
    read_s = n_samples / stream.rate_hz
    declared_s = stream.declared_s
    if declared_s is not None and read_s < declared_s - stream.tolerance_s:
        raise AudioError(
            f"{name}: damaged or cut short, only {read_s:.2f} s of {declared_s:.2f} s can be read"
        )
    if broken is not None:
        raise AudioError(f"{name}: damaged after {read_s:.2f} s ({broken})")
