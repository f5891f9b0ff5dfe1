"""Files whose headers say less, more or other than there is."""

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiomamba import audio
from audiomamba.audio.ogg import links_of
from audiomamba.audio.pipe import read_pipe
from audiomamba.errors import AudioError

RATE = 16_000
SECONDS = 3


def sound(seed: int = 0) -> np.ndarray:
    return 0.2 * np.random.default_rng(seed).standard_normal(SECONDS * RATE)


def written(kind: str, samples: np.ndarray, rate: int = RATE, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def n_read(data: bytes) -> int:
    return len(audio.load(io.BytesIO(data), sample_rate=RATE))


def with_size(data: bytes, chunk: bytes, size: int, order: str = "<I") -> bytes:
    """The file with another size of a chunk."""
    at = data.index(chunk) + len(chunk)
    return data[:at] + struct.pack(order, size) + data[at + struct.calcsize(order) :]


# Lengths that are not known


def flac_from_a_pipe(samples: np.ndarray) -> bytes:
    """As an encoder writes it that cannot go back to its beginning."""
    data = bytearray(written("FLAC", samples))
    data[21] &= 0xF0  # the upper 4 of 36 bits
    data[22:26] = bytes(4)
    return bytes(data)


@pytest.mark.parametrize("as_file", [True, False])
def test_a_flac_of_unknown_length_is_read_whole(tmp_path: Path, as_file: bool) -> None:
    data = flac_from_a_pipe(sound())
    path = tmp_path / "a.flac"
    path.write_bytes(data)
    blocks = audio.stream(path if as_file else data)
    assert blocks.declared_s is None
    assert sum(map(len, blocks)) == SECONDS * RATE
    expected = audio.load(written("FLAC", sound()), sample_rate=RATE)
    assert audio.load(data, sample_rate=RATE).equal(expected)


def test_a_flac_of_unknown_length_that_is_cut_short_is_damaged() -> None:
    data = flac_from_a_pipe(sound())
    with pytest.raises(AudioError, match="damaged"):
        n_read(data[: len(data) * 6 // 10])


# Files that are several


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("n_links", [2, 5])
def test_all_links_of_an_ogg_chain_are_read(tmp_path: Path, subtype: str, n_links: int) -> None:
    """As recordings of internet radio are, a link for each piece of music."""
    links = [written("OGG", sound(seed), 48_000, subtype) for seed in range(n_links)]
    path = tmp_path / "radio.ogg"
    path.write_bytes(b"".join(links))

    found = audio.load(path, sample_rate=48_000)

    expected = np.concatenate([audio.load(one, sample_rate=48_000).numpy() for one in links])
    np.testing.assert_array_equal(found.numpy(), expected)
    assert found.numpy().size == n_links * SECONDS * RATE


def test_links_of_other_rates_channels_and_codecs_are_joined() -> None:
    stereo = np.stack([sound(), sound()], axis=1)
    links = [
        written("OGG", sound(), RATE, "VORBIS"),
        written("OGG", stereo, 44_100, "VORBIS"),
        written("OGG", sound(), 48_000, "OPUS"),
    ]
    expected = SECONDS * RATE * (1 + RATE / 44_100 + RATE / 48_000)
    assert n_read(b"".join(links)) == pytest.approx(expected, abs=4)


def test_what_is_no_chain_has_one_link() -> None:
    data = written("OGG", sound())
    assert links_of(io.BytesIO(data)) == [(0, len(data))]
    damaged = bytearray(data)
    damaged[5_000:6_000] = bytes(1_000)
    assert links_of(io.BytesIO(damaged)) == [(0, len(data))]
    assert links_of(io.BytesIO(b"OggS")) == [(0, 4)]


def test_a_damaged_link_is_said() -> None:
    data = written("OGG", sound())
    with pytest.raises(AudioError, match=r"damaged after 3\.00 s"):
        n_read(data + data[:58] + bytes(5_000))


# Sizes that are those of an earlier time, or wrapped round


EARLY = {
    "WAV": (b"data", "<I"),
    "WAVEX": (b"data", "<I"),
    "AIFF": (b"SSND", ">I"),
    "CAF": (b"data", ">Q"),
    "W64": (b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a", "<Q"),
}


@pytest.mark.parametrize("size", [0, 16, 1_008, 10_000])
@pytest.mark.parametrize("kind", EARLY)
def test_a_header_that_was_written_early_is_not_believed(kind: str, size: int) -> None:
    data = written(kind, sound())
    early = with_size(data, EARLY[kind][0], size, EARLY[kind][1])
    assert early != data
    assert n_read(early) == pytest.approx(SECONDS * RATE, abs=8)


@pytest.mark.parametrize("size", [0, 16, 1_008])
def test_the_same_of_rf64_and_au(size: int) -> None:
    rf64 = written("RF64", sound(), subtype="PCM_16")
    at = rf64.index(b"ds64") + 16
    assert n_read(rf64[:at] + struct.pack("<Q", size) + rf64[at + 8 :]) == SECONDS * RATE
    assert (
        n_read(with_size(written("AU", sound()), b".snd\0\0\0\x18", size, ">I")) == SECONDS * RATE
    )


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW", "MS_ADPCM"])
def test_a_header_written_early_in_any_encoding(subtype: str) -> None:
    data = written("WAV", sound(), subtype=subtype)
    whole = audio.load(data, sample_rate=RATE)
    found = audio.load(with_size(data, b"data", 1_024), sample_rate=RATE)
    assert found[: len(whole)].equal(whole)


@pytest.mark.parametrize("kind", ["WAV", "RF64"])
def test_more_than_4_gib_are_known_with_sizes_that_are_wrapped_round(
    tmp_path: Path, kind: str
) -> None:
    """The file is sparse: of its 37 hours only the header takes room on the disk."""
    data = written(kind, sound(), subtype="PCM_16")
    header, n_bytes = data[: data.index(b"data") + 8], (1 << 32) + 2 * SECONDS * RATE
    path = tmp_path / "long.wav"
    path.write_bytes(with_size(header, b"data", n_bytes % (1 << 32)))
    with path.open("rb+") as file:
        file.seek(len(header) + 70_000)
        file.write(b"\1\2" * 100)
        file.truncate(len(header) + n_bytes)

    blocks = audio.stream(path)

    assert blocks.declared_s == pytest.approx(n_bytes / 2 / RATE)
    assert blocks.declared_s > 134_000
    assert len(next(blocks)) > 10_000
    blocks.close()


LONG_CODINGS = [
    ("AIFF", "PCM_16", {}),
    ("AIFF", "PCM_24", {}),
    ("AIFF", "PCM_16", {"endian": "LITTLE"}),  # aifc
    ("AIFF", "FLOAT", {}),
    ("AIFF", "DOUBLE", {}),
    ("AIFF", "ULAW", {}),
    ("WAV", "PCM_16", {"endian": "BIG"}),  # RIFX
    ("WAV", "FLOAT", {"endian": "BIG"}),
    ("WAV", "PCM_24", {}),
    ("RF64", "FLOAT", {}),
    ("CAF", "PCM_16", {}),
    ("W64", "PCM_16", {}),
    ("AU", "PCM_16", {}),
]


def long_file(path: Path, kind: str, subtype: str, n_channels: int = 2, **how: str) -> int:
    """A sparse file of 4 GiB and some seconds, with sizes of 32 bits wrapped round.

    It has the samples of `sound` at its beginning and again at its end. Returns its bytes of sound.
    """
    samples = np.repeat(sound()[:, None], n_channels, axis=1)
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=kind, subtype=subtype, **how)
    data = file.getvalue()
    frame_bytes = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1}[subtype]
    n_short = len(samples) * n_channels * frame_bytes
    begin = len(data) - n_short
    n_bytes = ((1 << 32) // (n_channels * frame_bytes) + 1) * n_channels * frame_bytes + n_short
    wide = {"CAF": "data", "W64": "data"}.get(kind)
    with path.open("wb") as out:
        out.write(data)
        out.seek(begin + n_bytes - n_short)
        out.write(data[begin:])
        if wide is None:
            chunk = {"AIFF": b"SSND", "AU": b".snd\0\0\0"}.get(kind, b"data")
            at = data.index(chunk) + (8 if kind == "AU" else 4)
            n_more = 8 if kind == "AIFF" else 0
            order = ">I" if kind in ("AIFF", "AU") or how else "<I"
            out.seek(at)
            out.write(
                struct.pack(order if kind != "AIFF" else ">I", (n_bytes + n_more) % (1 << 32))
            )
    return n_bytes // (n_channels * frame_bytes)


@pytest.mark.parametrize(("kind", "subtype", "how"), LONG_CODINGS)
def test_more_than_4_gib_in_any_coding(
    tmp_path: Path, kind: str, subtype: str, how: dict[str, str]
) -> None:
    path = tmp_path / "long"
    n_frames = long_file(path, kind, subtype, **how)

    blocks = audio.stream(path)

    assert blocks.declared_s == pytest.approx(n_frames / RATE, abs=0.01)
    found = next(blocks).numpy()[:1_000]
    np.testing.assert_allclose(found, sound()[:1_000], atol=0.02)
    blocks.close()


def test_more_than_4_gib_in_a_coding_that_only_its_own_header_describes(tmp_path: Path) -> None:
    data = written("AIFF", sound(), subtype="IMA_ADPCM")
    path = tmp_path / "long.aifc"
    path.write_bytes(with_size(data, b"SSND", 5_000, ">I"))
    with path.open("rb+") as file:
        file.truncate((1 << 32) + 5_000_000)
    with pytest.raises(AudioError, match=r"long\.aifc: more than 4 GiB of samples in a coding"):
        audio.stream(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "subtype", "how"),
    [("AIFF", "DOUBLE", {}), ("AIFF", "FLOAT", {}), ("RF64", "FLOAT", {}), ("W64", "PCM_16", {})],
)
def test_more_than_4_gib_are_read_to_their_end(
    tmp_path: Path, kind: str, subtype: str, how: dict[str, str]
) -> None:
    n_frames = long_file(tmp_path / "long", kind, subtype, n_channels=16, **how)
    n_read, last = 0, np.zeros(0)
    for block in audio.stream(tmp_path / "long"):
        n_read += len(block)
        last = np.concatenate([last, block.numpy()])[-SECONDS * RATE :]
    assert n_read == n_frames
    np.testing.assert_allclose(last, sound(), atol=1e-4)


def test_right_sizes_are_believed_whatever_comes_after_the_samples() -> None:
    data = written("WAV", sound(), subtype="PCM_16")
    chunk = b"LIST" + struct.pack("<I", 20_000) + bytes(range(1, 251)) * 80
    odd = data[:-1]  # whose last sample has one byte, so that the next chunk begins at an odd place
    odd = with_size(odd, b"data", 2 * SECONDS * RATE - 1)
    for whole in (
        data,
        data + chunk,
        data + chunk + chunk,
        data + b"ID3\4" + bytes(range(256)) * 100,
        data + bytes(100_000),  # to fill a block of the disk
        data + b"junk of a few bytes",
    ):
        assert n_read(whole) == SECONDS * RATE
    for whole in (odd + chunk, odd + b"\0" + chunk):
        assert n_read(whole) == SECONDS * RATE - 1
    assert n_read(with_size(data, b"data", 2 * RATE)) == SECONDS * RATE


def test_an_empty_wav_is_still_empty() -> None:
    with pytest.raises(AudioError, match="no samples"):
        n_read(written("WAV", np.zeros(0)) + b"LIST" + struct.pack("<I", 20_000) + bytes(20_000))


# From a pipe


def piped(data: bytes) -> int:
    return sum(map(len, read_pipe(io.BytesIO(data), RATE)))


@pytest.mark.parametrize("size", [0, 1_008, 10_000])
def test_a_header_written_early_from_a_pipe(size: int) -> None:
    data = written("WAV", sound(), subtype="PCM_16")
    assert piped(with_size(data, b"data", size)) == SECONDS * RATE


def test_what_comes_after_the_samples_is_no_sound_from_a_pipe_either() -> None:
    data = written("WAV", sound(), subtype="PCM_16")
    chunk = b"LIST" + struct.pack("<I", 20_000) + bytes(range(1, 251)) * 80
    for whole in (data, data + chunk, data + b"ID3\4" + bytes(9_000), data + b"few bytes"):
        assert piped(whole) == SECONDS * RATE


@pytest.mark.parametrize("size", [1_001, (1 << 20) + 3, 5 << 20])
def test_a_long_chunk_before_the_samples(size: int) -> None:
    data = written("WAV", sound(), subtype="PCM_16")
    long = b"bext" + struct.pack("<I", size) + bytes(size + size % 2)
    before = data[:12] + long + data[12:]
    assert piped(before) == SECONDS * RATE
    assert n_read(before) == SECONDS * RATE


def test_a_chunk_that_is_longer_than_the_input_is_said() -> None:
    data = written("WAV", sound())
    with pytest.raises(AudioError, match=re.escape("header is damaged or cut short")):
        piped(data[:12] + b"bext" + struct.pack("<I", 0xFFFF_FFF0) + data[12:])
