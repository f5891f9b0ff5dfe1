"""Channels and rates, as users have them."""

import io
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiomamba import audio
from audiomamba.audio.mono import as_rate, mix
from audiomamba.errors import AudioError, ConfigError

RATE = 16_000


def sound(n_samples: int = 4_000) -> np.ndarray:
    return (0.3 * np.random.default_rng(0).standard_normal(n_samples)).clip(-1, 1)


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_channels_first_are_taken_where_that_is_said(make):
    channels = np.stack([sound(), np.roll(sound(), 7)])

    first = audio.to_mono(make(channels), channels_first=True)

    torch.testing.assert_close(first, audio.to_mono(make(channels.T)))
    torch.testing.assert_close(first, torch.from_numpy(channels.mean(0)).float())
    assert audio.to_mono(make(channels[:1]), channels_first=True).shape == (4_000,)
    assert audio.to_mono(make(channels[0]), channels_first=True).shape == (4_000,)


@pytest.mark.parametrize("n_channels", [1, 2, 8])
def test_the_wrong_order_is_refused_with_what_to_do(n_channels):
    with pytest.raises(ConfigError, match=rf"\({n_channels}, 4000\) have more channels.*to_mono"):
        audio.to_mono(np.zeros((n_channels, 4_000)))
    with pytest.raises(ConfigError, match=rf"\(4000, {n_channels}\) have more channels"):
        audio.to_mono(np.zeros((4_000, n_channels)), channels_first=True)


def test_as_many_channels_as_no_recording_has():
    with pytest.raises(ConfigError, match="2000 channels; expected at most 1024"):
        audio.to_mono(np.zeros((2_000, 2_000)))


@pytest.mark.parametrize(
    "kind",
    [
        lambda it: torch.from_numpy(it).requires_grad_(),
        lambda it: torch.nn.Parameter(torch.from_numpy(it)),
        lambda it: np.repeat(it, 2)[::2],
        lambda it: it[::-1].copy()[::-1],
        lambda it: torch.from_numpy(it.repeat(3))[::3],
        lambda it: it.astype(">f8"),
        lambda it: np.frombuffer(it.tobytes()),
        lambda it: it.tolist(),
        np.ma.masked_array,
        lambda it: torch._neg_view(torch.from_numpy(-it)),
    ],
)
def test_samples_of_any_kind_are_the_same(kind):
    given = kind(sound())
    torch.testing.assert_close(audio.to_mono(given), torch.from_numpy(sound()).float())
    assert not audio.to_mono(given).requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_samples_of_any_precision(dtype):
    given = torch.from_numpy(sound()).to(dtype)
    torch.testing.assert_close(audio.to_mono(given), given.float())


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros(9, np.int16), "int16 of shape .* divided by 32768"),
        (torch.zeros(9, dtype=torch.int32), "int32"),
        (np.zeros(9, bool), "bool"),
        (np.zeros(9, complex), "complex128"),
        (torch.zeros(9, dtype=torch.complex64), "complex64"),
        (torch.zeros(9).to_sparse(), "float32"),
        (torch.zeros(9, device="meta"), "float32"),
        (np.array(["a", "b"]), "<U1"),
        (None, "NoneType"),
        ("0.5 0.25", "str"),
        (0.5, "floating point"),
        ([[0.5], [0.5, 0.25]], "list"),
        (np.zeros((2, 9, 2)), "shape"),
    ],
)
def test_what_is_no_sound_is_refused(samples, said):
    with pytest.raises(ConfigError, match=said):
        audio.to_mono(samples)


@pytest.mark.parametrize("shape", [(0,), (0, 2), (2, 0)])
def test_no_samples(shape):
    for channels_first in (False, True):
        with pytest.raises(AudioError, match="no samples"):
            audio.to_mono(np.zeros(shape), channels_first=channels_first)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_no_sound(value):
    with pytest.raises(AudioError, match="NaN or infinite"):
        audio.to_mono(np.array([0.0, value, 0.0]))


@pytest.mark.parametrize(
    "rate", [16_000, 16_000.0, np.int64(16_000), np.float32(16_000), torch.tensor(16_000)]
)
def test_rates_of_any_type(rate):
    assert as_rate(rate) == 16_000
    assert type(as_rate(rate)) is int


@pytest.mark.parametrize(
    "rate",
    [
        *(None, "16000", True, np.True_, 16, 44.1, 22_050.5, float("nan"), float("inf"), -16_000),
        *(
            10**9,
            10**400,
            1j,
            Fraction(44_100),
            [16_000],
            np.array([16_000]),
            np.zeros(3),
            b"16000",
        ),
    ],
)
def test_rates_that_cannot_be(rate):
    with pytest.raises(ConfigError, match=r"sample_rate is .*; expected Hz, a whole number"):
        as_rate(rate)


# Channels that cancel each other


def test_in_opposite_phase_the_louder_channel_is_heard():
    one = sound().astype(np.float32)
    np.testing.assert_array_equal(mix(np.stack([one, -one], 1)), one)
    np.testing.assert_array_equal(mix(np.stack([-one, one], 1)), -one)
    np.testing.assert_array_equal(mix(np.stack([one, -one, one, -one], 1)), one)
    almost = np.stack([one, -0.95 * one], 1)
    np.testing.assert_array_equal(mix(almost), one)


@pytest.mark.parametrize(
    "second",
    [
        np.zeros(4_000),  # a cable that is not plugged in
        sound()[::-1],  # another sound
        -0.5 * sound(),  # in opposite phase, but not cancelled
    ],
)
def test_else_the_mean_is_heard(second):
    frames = np.stack([sound(), second], 1).astype(np.float32)
    np.testing.assert_allclose(mix(frames), frames.mean(1), atol=1e-6)


def test_silence_stays_silence():
    assert not mix(np.zeros((9, 2), np.float32)).any()


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".m4a"])
def test_a_file_in_opposite_phase_is_as_loud_as_one_in_phase(tmp_path, suffix):
    one = 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    file = tmp_path / f"opposite{suffix}"
    if suffix == ".m4a":
        av = pytest.importorskip("av")
        with av.open(str(file), "w") as container:
            stream = container.add_stream("aac", rate=RATE, layout="stereo")
            stream.bit_rate = 128_000
            frame = av.AudioFrame.from_ndarray(
                np.stack([one, -one]).astype(np.float32), format="fltp", layout="stereo"
            )
            frame.sample_rate = RATE
            container.mux([*stream.encode(frame), *stream.encode(None)])
    else:
        soundfile.write(file, np.stack([one, -one], 1), RATE)

    found = audio.load(file, sample_rate=RATE)

    assert found.square().mean().sqrt() == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


# What else may be given


class Fspath:
    def __init__(self, path: Path, as_bytes: bool) -> None:
        self.path = os.fsencode(path) if as_bytes else str(path)

    def __fspath__(self):
        return self.path


class OnlyRead:
    """As a response of a server, which has little more than read."""

    def __init__(self, path: Path) -> None:
        self.read = io.BytesIO(path.read_bytes()).read


@pytest.mark.parametrize(
    "given",
    [
        str,
        lambda path: Fspath(path, as_bytes=False),
        lambda path: Fspath(path, as_bytes=True),
        Path.read_bytes,
        lambda path: bytearray(path.read_bytes()),
        lambda path: memoryview(path.read_bytes()),
        lambda path: io.BytesIO(path.read_bytes()),
        OnlyRead,
    ],
)
def test_a_file_in_whatever_way_it_is_given(tmp_path, given):
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(), RATE)
    found = audio.load(given(path), sample_rate=RATE)
    torch.testing.assert_close(found, audio.load(path, sample_rate=RATE))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "NoneType was given for a recording; expected a path, the bytes of a file"),
        (3, "int was given"),
        (np.zeros(9), "ndarray was given"),
        (io.StringIO("x"), "open for reading text"),
    ],
)
def test_what_is_no_file_is_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        audio.load(given, sample_rate=RATE)


def test_a_closed_file_is_refused(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(), RATE)
    with path.open("rb") as file:
        pass
    with pytest.raises(ConfigError, match="the file is closed"):
        audio.load(file, sample_rate=RATE)


def test_a_name_that_no_file_can_have():
    with pytest.raises(AudioError, match=r"cannot be read"):
        audio.load("a\0.wav", sample_rate=RATE)
    with pytest.raises(AudioError, match="too long"):
        audio.load("a" * 300, sample_rate=RATE)


def test_samples_that_are_masked_are_refused() -> None:
    samples = np.ma.masked_array(np.full(100, 0.5), mask=[True, *[False] * 99])
    with pytest.raises(ConfigError, match=r"some are masked; .* samples\.filled\(0\.0\)"):
        audio.to_mono(samples)
    assert audio.to_mono(samples.filled(0.0))[0] == 0
    assert audio.to_mono(np.ma.masked_array(np.full(100, 0.5)))[0] == 0.5
