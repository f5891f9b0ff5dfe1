"""The decoders: an open file in, mono blocks out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiomamba.errors import AudioError, MissingDependencyError

if TYPE_CHECKING:
    from av import AudioStream
    from av.container import InputContainer

__all__ = ["Samples", "Stream", "UnfinishedError", "open_stream", "open_with_av"]

Samples = NDArray[np.float32]

BLOCK_VALUES = 1 << 16
UNKNOWN_SIZE = 0x7FFF_0000  # writers to a pipe put such sizes into a header where they know none

# What the first bytes are in files that only PyAV reads: (offset, bytes).
MEDIA_MARKS = {
    "mp4 or m4a": (4, b"ftyp"),
    "webm or mkv": (0, b"\x1a\x45\xdf\xa3"),
    "wma or wmv": (0, b"\x30\x26\xb2\x75"),
    "amr": (0, b"#!AMR"),
    "ape": (0, b"MAC "),
    "wavpack": (0, b"wvpk"),
    "avi": (8, b"AVI "),
}
# The formats that PyAV may open, by FFmpeg's names: none that points to other files or addresses.
MEDIA_FORMATS = (
    "mov,matroska,asf,amr,ape,wv,avi,aac,ac3,eac3,aiff,au,caf,dts,flac,flv,mp3,mpeg,mpegts,ogg,rm,"
    "tta,w64,wav"
)


class UnfinishedError(Exception):
    """libsndfile took an mp3 without a frame count for shorter than it is, and stopped early."""


@dataclass(frozen=True)
class Stream:
    """A recording that is being decoded.

    Args:
        rate_hz: its rate.
        blocks: the mean of its channels, in blocks (samples,).
        declared_s: how long the file says that it is; None where it does not, or only guesses.
        tolerance_s: how much less than that may come out of an undamaged file.
    """

    rate_hz: int
    blocks: Iterator[Samples]
    declared_s: float | None
    tolerance_s: float


def open_stream(file: BinaryIO, name: str) -> Stream:
    """Open a recording with the decoder that its first bytes ask for, whatever its name is.

    Args:
        file: seekable, at its beginning.
        name: what messages call it.

    Returns:
        The stream; reading its blocks may raise UnfinishedError, soundfile.LibsndfileError or
        AudioError.

    Raises:
        AudioError: no decoder knows the file.
        MissingDependencyError: PyAV is needed and not installed.
    """
    head = file.read(16)
    file.seek(0)
    for kind, (offset, mark) in MEDIA_MARKS.items():
        if head[offset : offset + len(mark)] == mark:
            return open_with_av(file, name, kind)
    try:
        return _open_with_soundfile(file)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".").lower()
    file.seek(0)
    try:
        return open_with_av(file, name, "this format")
    except MissingDependencyError as error:
        raise AudioError(
            f"{name}: not audio that can be read ({reason}); "
            "more formats come with pip install 'audiomamba[media]'"
        ) from error


def open_with_av(file: BinaryIO, name: str, kind: str) -> Stream:
    """Open the best audio stream of a container with PyAV; kind is the container, in words."""
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
        container.close()
        raise AudioError(f"{name}: has no sound in it")
    declared_s = None
    if stream.duration is not None and stream.time_base is not None:
        declared_s = float(stream.duration * stream.time_base)
    tolerance_s = 0.5 + 0.01 * (declared_s or 0)
    return Stream(stream.rate, _av_blocks(container, stream, name), declared_s, tolerance_s)


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


def _open_with_soundfile(file: BinaryIO) -> Stream:
    """Open a file with libsndfile."""
    sound = soundfile.SoundFile(file)
    is_mp3 = sound.format == "MP3"  # its length is only estimated where it has no frame count
    declared_s = None if is_mp3 else _declared_s(sound)
    blocks = _mp3_blocks(sound, file) if is_mp3 else _soundfile_blocks(sound)
    return Stream(sound.samplerate, blocks, declared_s, tolerance_s=0.1)


def _declared_s(sound: soundfile.SoundFile) -> float:
    """Seconds that the header promises; libsndfile notes in its log where the file holds less."""
    seconds: float = sound.frames / sound.samplerate
    pattern = r"^ *(?:data|SSND) *: (\d+) \(should be (\d+)\)"
    sizes = re.search(pattern, sound.extra_info, re.MULTILINE)
    if sizes is None or not 0 < int(sizes[2]) < int(sizes[1]) < UNKNOWN_SIZE:
        return seconds
    return seconds * int(sizes[1]) / int(sizes[2])


def _soundfile_blocks(sound: soundfile.SoundFile) -> Iterator[Samples]:
    """Mono blocks until the decoder has no more."""
    n_channels = sound.channels
    block = np.empty((max(1, BLOCK_VALUES // n_channels), n_channels), dtype=np.float32)
    weights = np.full(n_channels, 1 / n_channels, dtype=np.float32)
    with sound:
        while len(frames := sound.read(out=block)):
            yield frames @ weights


def _mp3_blocks(sound: soundfile.SoundFile, file: BinaryIO) -> Iterator[Samples]:
    """Mono blocks; raises UnfinishedError where much of the file was left unread."""
    yield from _soundfile_blocks(sound)
    stopped_at = file.tell()
    size = file.seek(0, 2)
    if size - stopped_at > max(4096, size // 50):
        raise UnfinishedError
