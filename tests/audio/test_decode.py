"""Which decoder is taken, and how long an mp3 is."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiomamba import audio
from audiomamba.errors import AudioError, MissingDependencyError

RATE = 16_000

# Without PyAV.


@pytest.fixture
def without_av(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)


@pytest.mark.parametrize("name", ["a.m4a", "a.webm"])
def test_a_container_without_pyav_names_the_extra(write, tone, monkeypatch, name):
    path = write(name, tone(500, 48_000), 48_000)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"audiomamba\[media\]") as caught:
        audio.load(path, sample_rate=RATE)
    assert str(path) in str(caught.value)


@pytest.mark.usefixtures("without_av")
def test_text_without_pyav_is_still_bad_audio(tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("these are no samples\n" * 100)
    with pytest.raises(AudioError, match=r"not audio .*audiomamba\[media\]"):
        audio.load(path, sample_rate=RATE)


@pytest.mark.usefixtures("without_av")
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.opus", "a.mp3"])
def test_common_formats_need_no_pyav(write, tone, name):
    assert len(audio.load(write(name, tone(500, RATE), RATE), sample_rate=RATE)) == RATE


# The length of an mp3.


def mp3_frames(contents: bytes) -> list[bytes]:
    """Split an mp3 of MPEG 1 layer 3 at 44.1 kHz into its frames."""
    kbps = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
    frames, at = [], 0
    while at + 4 <= len(contents):
        assert contents[at : at + 2] in {b"\xff\xfb", b"\xff\xfa"}
        size = 144_000 * kbps[contents[at + 2] >> 4] // 44_100 + (contents[at + 2] >> 1 & 1)
        frames.append(contents[at : at + size])
        at += size
    return frames


@pytest.fixture
def mp3(tmp_path, tone) -> Path:
    """Ten seconds that swell, at a varying bit rate, with a frame count in the first frame."""
    path = tmp_path / "a.mp3"
    samples = tone(500, 44_100, 10.0) * np.linspace(0, 1, 441_000) ** 4
    samples += np.random.default_rng(0).normal(0, 0.1, 441_000) * np.linspace(0, 1, 441_000) ** 8
    with soundfile.SoundFile(path, "w", 44_100, 1, bitrate_mode="VARIABLE") as file:
        file.write(samples)
    return path


def test_an_mp3_without_a_frame_count_is_read_to_its_end(mp3):
    frames = mp3_frames(mp3.read_bytes())
    mp3.write_bytes(b"".join(frames[1:]))
    assert len(audio.load(mp3, sample_rate=RATE)) / RATE == pytest.approx(10, abs=0.15)


def test_an_mp3_that_begins_inside_a_frame_is_read_to_its_end(mp3):
    frames = mp3_frames(mp3.read_bytes())
    mp3.write_bytes(frames[1][30:] + b"".join(frames[2:]))
    assert len(audio.load(mp3, sample_rate=RATE)) / RATE == pytest.approx(10, abs=0.15)


def test_two_mp3_files_in_one_are_read_to_their_end(mp3):
    mp3.write_bytes(mp3.read_bytes() * 2)
    assert len(audio.load(mp3, sample_rate=RATE)) / RATE == pytest.approx(20, abs=0.15)


def test_tags_around_an_mp3_do_not_matter(mp3):
    expected = audio.load(mp3, sample_rate=RATE)
    picture = np.random.default_rng(0).bytes(50_000)
    id3 = b"ID3\x03\x00\x00" + bytes([0, 3, 6, 80]) + picture  # 50000 in digits of seven bits
    ape = b"APETAGEX" + bytes(24) + picture + b"APETAGEX" + bytes(24)
    mp3.write_bytes(id3 + mp3.read_bytes() + ape + b"TAG" + bytes(125))
    torch.testing.assert_close(audio.load(mp3, sample_rate=RATE), expected)


@pytest.mark.parametrize("name", ["a.webm", "a.m4a", "a.mka"])
def test_opposite_phase_is_heard_in_containers_of_short_packets(write, tone, name):
    one = tone(500, 48_000)
    alone = audio.load(write(name, one, 48_000), sample_rate=RATE)
    path = write(name, np.stack([one, -one], axis=1), 48_000)
    found = audio.load(path, sample_rate=RATE)
    assert found.square().mean() > 0.8 * alone.square().mean()


@pytest.mark.parametrize("n_channels", [2, 8, 10, 16, 24])
@pytest.mark.parametrize("name", ["a.mka", "a.mov"])
def test_many_channels_in_a_container_are_mixed(tmp_path, name, n_channels):
    """More than 8 ended the process once."""
    av = pytest.importorskip("av")
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (4_000, n_channels)).astype("<f4")
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=RATE, layout=f"{n_channels}c")
        frame = av.AudioFrame(format="flt", layout=f"{n_channels}c", samples=len(samples))
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate = RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])

    found = audio.load(path, sample_rate=RATE)

    np.testing.assert_allclose(found.numpy(), samples.mean(axis=1), atol=1e-6)
