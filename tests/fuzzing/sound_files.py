"""Small files of every format that is decoded, and mutations of them; all follow from a seed."""

import io
import random
import struct
from functools import cache

import av
import numpy as np
import soundfile

RATE = 16_000
SECONDS = 0.25

# name: what soundfile is asked for.
WITH_SOUNDFILE = {
    "wav": ("WAV", "PCM_16"),
    "wav-24": ("WAVEX", "PCM_24"),
    "wav-float": ("WAV", "FLOAT"),
    "wav-adpcm": ("WAV", "MS_ADPCM"),
    "wav-ulaw": ("WAV", "ULAW"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
# name: the container and the codec that PyAV is asked for.
WITH_AV = {
    "m4a": ("ipod", "aac"),
    "mp4-alac": ("mp4", "alac"),
    "aac": ("adts", "aac"),
    "webm": ("webm", "libopus"),
    "mka": ("matroska", "pcm_s16le"),
    "wma": ("asf", "wmav2"),
}
# Numbers that sizes, counts and rates go wrong with.
NUMBERS = (0, 1, 2, 3, 7, 8, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 1 << 20, 1 << 24, 1 << 31)
FORMS = ("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")
HEADER_BYTES = 400  # that most mutations are in
MOST_MUTATIONS = 6


def _sound(n_channels: int) -> np.ndarray:
    rng = np.random.default_rng(n_channels)
    return 0.2 * rng.standard_normal((round(SECONDS * RATE), n_channels))


def _with_soundfile(kind: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, _sound(2), RATE, format=kind, subtype=subtype)
    return file.getvalue()


def _with_av(container: str, codec: str) -> bytes:
    file = io.BytesIO()
    rate = 48_000 if codec == "libopus" else RATE
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(_sound(1).T.astype(np.float32)), format="fltp", layout="mono"
        )
        frame.sample_rate = rate
        to_codec = av.AudioResampler(stream.format, "mono", rate, stream.frame_size or 1024)
        for part in [*to_codec.resample(frame), *to_codec.resample(None)]:
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return file.getvalue()


@cache
def whole_files() -> dict[str, bytes]:
    """Make a file of every format."""
    files = {name: _with_soundfile(*how) for name, how in WITH_SOUNDFILE.items()}
    files |= {name: _with_av(*how) for name, how in WITH_AV.items()}
    files["chain"] = files["vorbis"] + files["opus"]
    return files


def mutated(seed: int, number: int) -> tuple[str, bytes]:
    """Make a damaged file.

    Args:
        seed: of the run.
        number: of the file in the run.

    Returns:
        Its format, and its bytes.
    """
    rng = random.Random(f"{seed}/{number}")
    files = whole_files()
    name = rng.choice(sorted(files))
    data = bytearray(files[name])
    for _ in range(rng.randint(1, MOST_MUTATIONS)):
        if data:
            rng.choice(MUTATIONS)(data, rng)
    if data[:4] == b"OggS" and rng.random() < 0.8:
        _correct_pages(data)
    return name, bytes(data)


def _place(data: bytearray, rng: random.Random) -> int:
    """A place, most often in the header."""
    end = len(data) if rng.random() < 0.3 else min(len(data), HEADER_BYTES)
    return rng.randrange(end)


def _flip_a_bit(data: bytearray, rng: random.Random) -> None:
    data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _set_a_byte(data: bytearray, rng: random.Random) -> None:
    data[_place(data, rng)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _set_a_number(data: bytearray, rng: random.Random) -> None:
    """At any place, or where a chunk has its size."""
    form, at = rng.choice(FORMS), _place(data, rng)
    for mark in rng.sample((b"data", b"fmt ", b"SSND", b"COMM", b"mdat", b"moov", b"ds64"), 3):
        if rng.random() < 0.3 and mark in data:
            at = data.index(mark) + 4
    limit = 1 << 8 * struct.calcsize(form)
    value = (rng.choice(NUMBERS) + rng.choice((-1, 0, 1))) * rng.choice((1, 1, -1)) % limit
    data[at : at + struct.calcsize(form)] = struct.pack(form, value)


def _remove(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    del data[at : at + rng.choice((1, 2, 4, 16, 300))]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    piece = bytes(data[at : at + rng.choice((1, 4, 30, 300))])
    data[at:at] = piece * rng.choice((1, 2, 20))


def _insert(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 50)))


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _exchange(data: bytearray, rng: random.Random) -> None:
    """Put a piece of another file in."""
    other = whole_files()[rng.choice(sorted(whole_files()))]
    at, start = _place(data, rng), rng.randrange(len(other))
    data[at : at + 64] = other[start : start + rng.choice((8, 64, 2_000))]


def _append(data: bytearray, rng: random.Random) -> None:
    """Put another file after it."""
    data += whole_files()[rng.choice(sorted(whole_files()))]


MUTATIONS = (
    *(_flip_a_bit, _flip_a_bit, _set_a_byte, _set_a_byte, _set_a_number, _set_a_number),
    *(_set_a_number, _remove, _repeat, _insert, _cut, _exchange, _append),
)


def _correct_pages(data: bytearray) -> None:
    """Correct the checksums of an Ogg file, without which its pages would not be looked into."""
    at = 0
    while data[at : at + 4] == b"OggS" and at + 27 <= len(data):
        n_segments = data[at + 26]
        end = at + 27 + n_segments + sum(data[at + 27 : at + 27 + n_segments])
        if end > len(data):
            return
        data[at + 22 : at + 26] = bytes(4)
        data[at + 22 : at + 26] = _checksum(data[at:end]).to_bytes(4, "little")
        at = end


@cache
def _checksums() -> list[int]:
    table = []
    for value in range(256):
        rest = value << 24
        for _ in range(8):
            rest = (rest << 1) ^ (0x04C11DB7 if rest & 0x8000_0000 else 0)
        table.append(rest & 0xFFFF_FFFF)
    return table


def _checksum(page: bytearray) -> int:
    table, rest = _checksums(), 0
    for byte in page:
        rest = (rest << 8 & 0xFFFF_FFFF) ^ table[rest >> 24 ^ byte]
    return rest
