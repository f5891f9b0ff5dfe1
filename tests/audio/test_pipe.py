"""Sound that comes by a pipe."""

import io
import os
import threading

import numpy as np
import pytest
import soundfile
import torch

from audiomamba import audio
from audiomamba.audio.pipe import RawSound, read_pipe
from audiomamba.errors import AudioError, ConfigError

RATE = 16_000
ENCODINGS = {
    "u8": "PCM_U8",
    "s16": "PCM_16",
    "s24": "PCM_24",
    "s32": "PCM_32",
    "f32": "FLOAT",
    "f64": "DOUBLE",
}


def stereo(seconds: float = 0.5) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.9, 0.9, (round(seconds * RATE), 2))


def as_wav(samples: np.ndarray, rate_hz: int, subtype: str, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, subtype=subtype, format=kind)
    return file.getvalue()


def joined(data: bytes, sample_rate: int = RATE, raw: RawSound | None = None) -> torch.Tensor:
    return torch.cat(list(read_pipe(io.BytesIO(data), sample_rate, raw)))


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_wav_is_read_as_from_a_file(encoding, kind):
    data = as_wav(stereo(), 44_100, ENCODINGS[encoding], kind)
    expected = audio.load(io.BytesIO(data), sample_rate=RATE)
    torch.testing.assert_close(joined(data), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_raw_samples_are_read_as_described(encoding):
    file = io.BytesIO()
    samples = stereo()
    soundfile.write(file, samples, RATE, subtype=ENCODINGS[encoding], format="RAW", endian="LITTLE")
    found = joined(file.getvalue(), raw=RawSound(RATE, encoding, 2))
    tolerance = 2e-2 if encoding == "u8" else 1e-4
    np.testing.assert_allclose(found.numpy(), samples.mean(axis=1), atol=tolerance)


@pytest.mark.parametrize("size", [0, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_sizes_that_the_writer_did_not_know_do_not_matter(size):
    data = bytearray(as_wav(stereo(), RATE, "PCM_16"))
    assert data[36:40] == b"data"
    data[4:8] = data[40:44] = size.to_bytes(4, "little")
    assert len(joined(bytes(data))) == RATE // 2


def test_what_follows_the_samples_is_no_sound():
    data = as_wav(stereo(), RATE, "PCM_16")
    assert len(joined(data + b"LIST" + bytes(5000))) == RATE // 2


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_samples_that_come_in_pieces_are_put_together(step):
    data = as_wav(stereo(0.05), RATE, "PCM_24")
    read_end, write_end = os.pipe()

    def feed() -> None:
        with os.fdopen(write_end, "wb", buffering=0) as file:
            for place in range(0, len(data), step):
                file.write(data[place : place + step])

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(read_end, "rb") as file:
        found = torch.cat(list(read_pipe(file, RATE)))
    feeder.join()
    torch.testing.assert_close(found, joined(data))


def test_the_rest_of_a_moment_at_the_end_is_left_out():
    assert len(joined(bytes(4 * 100 + 3), raw=RawSound(RATE, "s16", 2))) == 100


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "nothing came"),
        (b"OggS" + bytes(100), "not wav"),
        (b"RIFF\0\0\0\0WAVE", "header is damaged"),
        (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + bytes(7), "header is damaged"),
        (b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\xff", "header is damaged"),
        (as_wav(np.zeros((0, 1)), RATE, "PCM_16"), "no samples"),
        (as_wav(stereo(), RATE, "ULAW"), "wav header cannot be read: samples are 'format 8'"),
        (as_wav(stereo(), 500, "PCM_16"), "the rate is 500 Hz"),
    ],
)
def test_what_is_no_sound_is_refused(data, reason):
    with pytest.raises(AudioError, match=reason) as caught:
        joined(data)
    assert str(caught.value).startswith("standard input: ")


def test_samples_that_are_no_numbers_are_refused():
    data = np.array([0.0, np.nan], "<f4").tobytes()
    with pytest.raises(AudioError, match="NaN"):
        joined(data, raw=RawSound(RATE, "f32"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16000", RawSound(16_000, "s16", 1)),
        ("48000:f32", RawSound(48_000, "f32", 1)),
        ("44100:s24:2", RawSound(44_100, "s24", 2)),
    ],
)
def test_descriptions_of_raw_sound(text, expected):
    assert RawSound.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected RATE"),
        ("fast", "expected RATE"),
        ("16000:s16:1:1", "expected RATE"),
        ("16000:s16:two", "expected RATE"),
        ("16000:s12", "samples are 's12'; expected one of u8, s16"),
        ("16000:s16:0", "there are 0 channels"),
        ("5", "the rate is 5 Hz"),
    ],
)
def test_descriptions_that_say_nothing_are_refused(text, reason):
    with pytest.raises(ConfigError, match=reason):
        RawSound.parse(text)


def test_channels_that_cancel_each_other_by_chance_are_mixed_in_whatever_pieces_they_come():
    samples = np.tile([[0.5, -0.5], [0.4, 0.2]], (1500, 1))  # every second moment cancels
    data = as_wav(samples, RATE, "FLOAT")
    expected = samples.mean(axis=1)
    for size in (1, 8, 100):
        pieces = _Pieces(data, size)
        found = torch.cat(list(read_pipe(pieces, RATE)))
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("gain", [1.0, 0.25])
def test_channels_in_opposite_phase_are_heard_in_whatever_pieces_they_come(gain):
    one = 0.3 * np.random.default_rng(0).standard_normal(5_000)
    samples = np.stack([one, -gain * one], axis=1)
    data = as_wav(samples, RATE, "FLOAT")
    found = {
        size: torch.cat(list(read_pipe(_Pieces(data, size), RATE))) for size in (3, 800, 1 << 20)
    }
    mean = gain < 1  # which does not cancel
    np.testing.assert_allclose(found[3], samples.mean(axis=1) if mean else one, atol=1e-6)
    assert found[3].equal(found[800])
    assert found[3].equal(found[1 << 20])
    assert found[3].equal(torch.cat(list(audio.stream(data))))


def test_what_cancels_by_chance_changes_nothing_and_the_loud_channel_may_change():
    rng = np.random.default_rng(0)
    one, other = 0.3 * rng.standard_normal((2, 40_960))
    samples = np.concatenate([np.stack([one, other], axis=1), np.stack([one, -one], axis=1)])
    pieces = _Pieces(as_wav(samples, RATE, "FLOAT"), 999)
    found = torch.cat(list(read_pipe(pieces, RATE))).numpy()
    np.testing.assert_allclose(found[:40_960], (one + other) / 2, atol=1e-6)
    np.testing.assert_allclose(found[-1_024:], one[-1_024:], atol=1e-6)


class _Pieces(io.BytesIO):
    """Gives so many bytes at a time, as a slow writer does."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self.size = size

    def read1(self, n_bytes: int | None = -1) -> bytes:
        return self.read(self.size if n_bytes in (None, -1) else min(n_bytes, self.size))
