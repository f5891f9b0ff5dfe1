"""The decoders: an open file in, mono blocks out."""

import io
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiomamba.audio.chunk_sizes import FilePart, without_sizes
from audiomamba.audio.mono import BLOCK_VALUES, Mixer, mix
from audiomamba.audio.ogg import links_of
from audiomamba.audio.resample import resample_blocks
from audiomamba.errors import AudioError, MissingDependencyError

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler, AudioStream, Packet
    from av.container import InputContainer

__all__ = [
    "BrokenStreamError",
    "Samples",
    "Stream",
    "UnfinishedError",
    "open_stream",
    "open_with_av",
]

Samples = NDArray[np.float32]

MOST_FRAMES = 1 << 60  # more frames than this are libsndfile's way to say that it knows none
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

ANOTHER_FORMAT = "invalid data, or another format from here on"
MOST_BAD_PACKETS = 200  # one after the other, of which none can be decoded
RESUMED = ("FLAC", "MP3")  # formats in which PyAV finds the next part after damage
KNOWN_LENGTHS = ("mov", "matroska", "asf")  # formats whose length is written, not estimated


class BrokenStreamError(Exception):
    """Not all can be decoded, and there is no more to come.

    Args:
        reason: the decoder's, in words.
        after_s: where the first thing that cannot be decoded is; None for the end of what came.
    """

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class UnfinishedError(Exception):
    """libsndfile stopped early, and PyAV may go on.

    Args:
        reason: of damage, in words; empty where it may just not have known how long the file is.
    """


@dataclass(frozen=True)
class Stream:
    """A recording that is being decoded.

    Args:
        rate_hz: its rate.
        n_channels: how many channels it has.
        blocks: the mean of its channels, in blocks (samples,).
        declared_s: how long the file says that it is; None where it does not, or only guesses.
        tolerance_s: how much less than that may come out of an undamaged file.
        about_s: how long it is by what it declares, or by a guess from its bytes; None for unknown.
    """

    rate_hz: int
    n_channels: int
    blocks: Iterator[Samples]
    declared_s: float | None
    tolerance_s: float
    about_s: float | None


class _SoundFile(soundfile.SoundFile):  # type: ignore[misc]  # it has no types
    """A file that is read from its beginning to its end.

    Others are sought in after each read, which fails at the end of a flac of unknown length.
    """

    def seekable(self) -> bool:
        """Say that it is not sought in."""
        return False


def open_stream(file: BinaryIO, name: str) -> Stream:
    """Open a recording with the decoder that its first bytes ask for, whatever its name is.

    Args:
        file: seekable, at its beginning.
        name: what messages call it.

    Returns:
        The stream; reading its blocks may raise BrokenStreamError or UnfinishedError.

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
        reason = _reason(error)
    except AudioError as error:  # about sizes
        raise AudioError(f"{name}: {error}") from error
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
    rate_hz: int | None = getattr(stream, "rate", None)  # not there without a decoder for the codec
    if rate_hz is None:
        container.close()
        raise AudioError(f"{name}: its sound is in a codec that cannot be decoded")
    declared_s = None
    about_s = None if container.duration is None else container.duration / av.time_base
    if container.format.name.startswith(KNOWN_LENGTHS):
        declared_s = about_s
    tolerance_s = 0.5 + 0.01 * (declared_s or 0)
    if container.format.name == "flac":  # its parts have checksums, which are not looked at else
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
        tolerance_s = 0.0
    blocks = _av_blocks(container, stream, rate_hz)
    return Stream(rate_hz, stream.channels, blocks, declared_s, tolerance_s, about_s)


def _av_blocks(
    container: "InputContainer", stream: "AudioStream", rate_hz: int
) -> Iterator[Samples]:
    """Mono blocks until the stream ends; packets that cannot be decoded are left out, and said."""
    import av

    # With all channels in one plane: of planes of their own PyAV knows 8, and reads memory that is
    # not its own for the others.
    to_float = av.AudioResampler(format="flt")
    mixer, n_samples, n_bad = Mixer(), 0, 0
    damaged_s: float | None = None
    try:
        with container:
            for packet in container.demux(stream):
                frames = _decoded(packet, to_float)
                n_bad = n_bad + 1 if frames is None else 0
                if frames is None and damaged_s is None:
                    damaged_s = n_samples / rate_hz
                if n_bad > MOST_BAD_PACKETS:
                    break
                for frame in frames or ():
                    values = frame.to_ndarray().astype(np.float32, copy=False)
                    block = mixer.add(values.reshape(-1, frame.layout.nb_channels))
                    n_samples += block.size
                    yield block
    except (av.FFmpegError, ValueError) as error:
        raise BrokenStreamError(ANOTHER_FORMAT, damaged_s) from error
    yield mixer.finish()
    if damaged_s is not None:
        raise BrokenStreamError(ANOTHER_FORMAT, damaged_s)


def _decoded(
    packet: "Packet[AudioStream]", to_float: "AudioResampler"
) -> "list[AudioFrame] | None":
    """The frames of a packet; None if it is damaged, or in another format than those before."""
    import av

    try:
        frames = packet.decode()
        if any(frame.is_corrupt for frame in frames):
            return None
        return [converted for frame in frames for converted in to_float.resample(frame)]
    except (av.FFmpegError, ValueError):
        return None


def _open_with_soundfile(file: BinaryIO) -> Stream:
    """Open a file with libsndfile."""
    counted = _has_mp3_count(file)
    part = without_sizes(file)
    links = links_of(file) if file.read(4) == b"OggS" else []
    file.seek(0)
    if len(links) > 1:
        return _open_chain(file, links)
    # Read by its descriptor where that is sound: what goes wrong or is interrupted while libsndfile
    # calls back into Python is lost.
    direct = part is None and isinstance(file, io.FileIO) and sys.platform != "win32"
    sound = _SoundFile(file.fileno() if direct else part or file, closefd=False)
    blocks, declared_s = _soundfile_blocks(sound, part), _declared_s(sound)
    if sound.format == "MP3":
        blocks, declared_s = _mp3_blocks(sound, file), declared_s if counted else None
    return Stream(sound.samplerate, sound.channels, blocks, declared_s, 0.1, declared_s)


def _open_chain(file: BinaryIO, links: list[tuple[int, int]]) -> Stream:
    """Open Ogg files that follow one another; they are given at the rate of the first."""
    with _SoundFile(FilePart(file, *links[0])) as first:
        rate_hz, n_channels = first.samplerate, first.channels

    def blocks() -> Iterator[Samples]:
        for link in links:
            part = FilePart(file, *link)
            try:
                sound = _SoundFile(part)
            except soundfile.LibsndfileError as error:
                raise BrokenStreamError(_reason(error)) from error
            yield from resample_blocks(_soundfile_blocks(sound, part), sound.samplerate, rate_hz)

    return Stream(rate_hz, n_channels, blocks(), None, 0.0, None)


def _has_mp3_count(file: BinaryIO) -> bool:
    """Whether the first mp3 frame, after tags, has the number of frames."""
    head = file.read(10)
    size = sum(
        (byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False)
    )
    file.seek(10 + size if head.startswith(b"ID3") else 0)
    frame = file.read(2048)
    file.seek(0)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


def _declared_s(sound: soundfile.SoundFile) -> float | None:
    """Seconds that the header promises; libsndfile notes in its log where the file holds less."""
    if sound.frames >= MOST_FRAMES:
        return None  # not written, as into a pipe
    seconds: float = sound.frames / sound.samplerate
    pattern = r"^ *(?:data|SSND) *: (\d+) \(should be (\d+)\)"
    sizes = re.search(pattern, sound.extra_info, re.MULTILINE)
    if sizes is None or not 0 < int(sizes[2]) < int(sizes[1]) < UNKNOWN_SIZE:
        return seconds
    return seconds * int(sizes[1]) / int(sizes[2])


def _soundfile_blocks(
    sound: soundfile.SoundFile, part: FilePart | None = None
) -> Iterator[Samples]:
    """Mono blocks until the decoder has no more; part is what it reads, if not the whole file."""
    n_channels, resumed = sound.channels, sound.format in RESUMED
    block = np.empty((max(1, BLOCK_VALUES // n_channels), n_channels), dtype=np.float32)
    try:
        with sound:
            while len(frames := sound.read(out=block)):
                yield mix(frames)
    except soundfile.LibsndfileError as error:
        raise (UnfinishedError if resumed else BrokenStreamError)(_reason(error)) from error
    if part is not None and part.error is not None:
        raise part.error


def _mp3_blocks(sound: soundfile.SoundFile, file: BinaryIO) -> Iterator[Samples]:
    """Mono blocks; raises UnfinishedError also where much of the file was left unread."""
    try:
        yield from _soundfile_blocks(sound)
    except UnfinishedError as error:  # which may be no damage: PyAV is to judge
        raise UnfinishedError("") from error
    stopped_at = file.tell()
    file.seek(max(0, stopped_at - 4096))
    tag_follows = b"APETAGEX" in file.read(8192)
    size = file.seek(0, os.SEEK_END)
    if size - stopped_at > max(4096, size // 50) and not tag_follows:
        raise UnfinishedError("")


def _reason(error: soundfile.LibsndfileError) -> str:
    """What libsndfile says, as a part of a sentence."""
    text: str = error.error_string
    return text.removeprefix("Error : ").rstrip(".").lower()
