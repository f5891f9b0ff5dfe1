import io
import os
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from audiomamba import audio
from audiomamba.audio.resample import resample
from audiomamba.errors import AudioError, ConfigError

RATE = 16_000
SOUNDFILE_KINDS = ("wav", "flac", "ogg", "opus", "mp3", "aiff", "au", "caf", "w64")
AV_KINDS = ("m4a", "mp4", "webm", "mka")


def frequency_hz(waveform: torch.Tensor, rate_hz: int = RATE) -> float:
    """The strongest frequency, to about a hertz."""
    windowed = waveform * torch.hann_window(len(waveform))
    bins = torch.fft.rfft(windowed, n=8 * rate_hz).abs()
    return int(bins.argmax()) / 8


def middle(waveform: torch.Tensor) -> torch.Tensor:
    """The middle half, free of the edges of codecs and filters."""
    return waveform[len(waveform) // 4 : -len(waveform) // 4]


@pytest.mark.parametrize(
    "name",
    [f"a.{kind}" for kind in (*SOUNDFILE_KINDS, *AV_KINDS)],
)
def test_every_format_gives_the_same_sound(write, tone, name):
    path = write(name, np.stack([tone(1000, 48_000), 0.5 * tone(1000, 48_000)], axis=1), 48_000)

    waveform = audio.load(path, sample_rate=RATE)

    assert waveform.dtype == torch.float32
    assert len(waveform) == pytest.approx(RATE, abs=600)  # some codecs round up to their frames
    assert frequency_hz(middle(waveform)) == pytest.approx(1000, abs=1)
    assert middle(waveform).abs().max() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    "rate_hz", [4000, 8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000]
)
@pytest.mark.parametrize("sample_rate", [16_000, 32_000])
def test_every_rate_keeps_frequency_level_and_length(write, tone, rate_hz, sample_rate):
    path = write("a.wav", tone(997, rate_hz), rate_hz)

    waveform = audio.load(path, sample_rate=sample_rate)

    assert len(waveform) == sample_rate
    assert frequency_hz(waveform, sample_rate) == pytest.approx(997, abs=0.2)
    assert middle(waveform).abs().max() == pytest.approx(0.4, rel=0.01)


def test_what_lies_above_the_new_half_rate_does_not_fold_back(write, tone):
    path = write("a.wav", tone(30_000, 192_000), 192_000)
    assert middle(audio.load(path, sample_rate=RATE)).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("n_channels", [1, 2, 8])
def test_channels_are_averaged(write, name, n_channels):
    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.5, 0.5, (4000, n_channels))

    waveform = audio.load(write(name, samples, RATE), sample_rate=RATE)

    np.testing.assert_allclose(waveform.numpy(), samples.mean(axis=1), atol=5e-5)


def test_eight_channels_at_192_khz(write, tone):
    channels = np.stack([tone(500, 192_000, 0.5) * gain for gain in range(8)], axis=1) / 7
    waveform = audio.load(write("a.wav", channels, 192_000), sample_rate=RATE)
    assert len(waveform) == RATE // 2
    assert frequency_hz(middle(waveform)) == pytest.approx(500, abs=1)
    assert middle(waveform).abs().max() == pytest.approx(0.2, rel=0.01)


def test_blocks_join_without_a_seam(write, tone):
    """A recording of many blocks equals its resampling in one piece."""
    samples = tone(997, 44_100, 10.0).astype(np.float32)
    path = write("a.wav", np.stack([samples] * 8, axis=1), 44_100)
    with soundfile.SoundFile(path) as file:
        whole = torch.from_numpy(file.read(dtype="float32").mean(axis=1))

    waveform = audio.load(path, sample_rate=RATE)

    torch.testing.assert_close(waveform, resample(whole, 44_100, RATE), atol=1e-6, rtol=0)


def test_a_clip_of_3_ms_loads(write, tone):
    assert len(audio.load(write("a.wav", tone(500, RATE, 0.003), RATE), sample_rate=RATE)) == 48


def test_the_waveform_can_be_written_to(write, tone):
    waveform = audio.load(write("a.wav", tone(500, RATE), RATE), sample_rate=RATE)
    waveform += 1
    assert waveform.mean() == pytest.approx(1, abs=0.01)


def test_the_name_does_not_decide_the_format(write, tone):
    path = write("a.flac", tone(500, RATE), RATE)
    renamed = path.rename(path.with_name("a.wav"))
    assert len(audio.load(renamed, sample_rate=RATE)) == RATE


@pytest.mark.parametrize("name", ["a.wav", "a.ogg", "a.m4a"])
def test_file_objects_are_read_from_their_beginning_and_left_open(write, tone, name):
    path = write(name, tone(500, RATE), RATE)
    expected = audio.load(path, sample_rate=RATE)
    with path.open("rb") as file:
        file.seek(5)
        torch.testing.assert_close(audio.load(file, sample_rate=RATE), expected)
        assert not file.closed
    memory = io.BytesIO(path.read_bytes())
    torch.testing.assert_close(audio.load(memory, sample_rate=RATE), expected)


def test_a_pipe_is_read(write, tone):
    path = write("a.wav", tone(500, RATE, 0.1), RATE)
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as file:
        file.write(path.read_bytes())
    with os.fdopen(read_end, "rb") as file:
        assert len(audio.load(file, sample_rate=RATE)) == RATE // 10


# Bad input: one line that names the file.


def check_refused(path: Path | io.BytesIO, *words: str) -> None:
    with pytest.raises(AudioError) as caught:
        audio.load(path, sample_rate=RATE)
    message = str(caught.value)
    assert message.startswith(f"{path}: " if isinstance(path, Path) else "audio data: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_missing_file(tmp_path):
    check_refused(tmp_path / "none.wav", "no such file")


def test_a_folder(tmp_path):
    check_refused(tmp_path, "folder")


def test_permission_denied(tmp_path, monkeypatch):
    def deny(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    check_refused(tmp_path / "a.wav", "permission denied")


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a"])
def test_empty_file(tmp_path, name):
    path = tmp_path / name
    path.touch()
    check_refused(path, "empty")


def test_empty_file_object():
    check_refused(io.BytesIO(), "empty")


@pytest.mark.parametrize(
    "text",
    [
        "these are no samples\n" * 100,
        "#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile other.wav\n",
        "x",
    ],
)
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.mp4"])
def test_text_that_is_called_audio(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    check_refused(path, "not audio")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.mp3"])
def test_a_file_that_is_cut_short_tells_how_much_can_be_read(write, name):
    rng = np.random.default_rng(0)
    path = write(name, rng.uniform(-0.3, 0.3, 10 * RATE), RATE)
    contents = path.read_bytes()
    path.write_bytes(contents[: len(contents) * 6 // 10])
    check_refused(path, "cut short", "s of 10.00 s can be read")


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_a_container_that_is_cut_short(write, name):
    rng = np.random.default_rng(0)
    path = write(name, rng.uniform(-0.3, 0.3, 480_000), 48_000)
    contents = path.read_bytes()
    path.write_bytes(contents[: len(contents) // 2])
    check_refused(path)


def test_a_wav_from_a_pipe_whose_sizes_are_unknown_loads(write, tone):
    path = write("a.wav", tone(500, RATE), RATE)
    contents = bytearray(path.read_bytes())
    contents[4:8] = contents[40:44] = b"\xff\xff\xff\xff"
    assert contents[36:40] == b"data"
    path.write_bytes(contents)
    assert len(audio.load(path, sample_rate=RATE)) == RATE


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.caf"])
def test_no_samples(write, name):
    check_refused(write(name, np.zeros(0), RATE), "no samples")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_numbers(tmp_path, tone, value):
    samples = np.stack([tone(500, RATE), tone(500, RATE)], axis=1)
    samples[8000, 1] = value
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, RATE, subtype="DOUBLE")
    check_refused(path, "NaN")


def test_a_rate_that_cannot_be(write, tone):
    check_refused(write("a.wav", tone(5, 100), 100), "100 Hz")


@pytest.mark.parametrize("sample_rate", [0, -16_000, 10**9])
def test_a_wanted_rate_that_cannot_be(write, tone, sample_rate):
    with pytest.raises(ConfigError, match="sample_rate"):
        audio.load(write("a.wav", tone(500, RATE), RATE), sample_rate=sample_rate)


def test_a_picture_has_no_sound(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    check_refused(path, "no sound")


def test_damage_in_the_middle(write):
    rng = np.random.default_rng(0)
    path = write("a.flac", rng.uniform(-0.3, 0.3, 10 * RATE), RATE)
    contents = bytearray(path.read_bytes())
    contents[100_000:110_000] = bytes(10_000)
    path.write_bytes(contents)
    check_refused(path, "damaged", "of 10.00 s")
