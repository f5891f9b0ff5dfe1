import dataclasses

import pytest
import torch

from audiomamba import audio
from audiomamba.audio import FrontEnd
from audiomamba.errors import ConfigError


def test_defaults_are_those_of_ast_on_audioset():
    front_end = FrontEnd()
    assert (front_end.window_samples, front_end.shift_samples) == (400, 160)
    assert front_end.n_samples == 1023 * 160 + 400
    assert front_end.clip_s == pytest.approx(10.255)


@pytest.mark.parametrize("sample_rate", [16_000, 22_050, 32_000])
def test_n_samples_give_exactly_n_frames(sample_rate):
    front_end = FrontEnd(sample_rate=sample_rate, n_frames=50)
    for extra, frames in ((-1, 49), (0, 50), (front_end.shift_samples - 1, 50)):
        waveform = torch.zeros(front_end.n_samples + extra)
        assert len(audio.kaldi_fbank(waveform, front_end)) == frames


@pytest.mark.parametrize("kind", ["decibel", "epic_sounds"])
def test_centered_frames_start_at_the_first_sample(kind):
    front_end = FrontEnd(kind=kind, sample_rate=32_000, frame_length_ms=32.0, n_frames=1001)
    assert (front_end.window_samples, front_end.shift_samples) == (1024, 320)
    assert front_end.clip_s == 10
    for extra, frames in ((-1, 1000), (0, 1001), (319, 1001)):
        waveform = torch.zeros(front_end.n_samples + extra)
        assert front_end.frames_in(len(waveform)) == frames
        assert len(audio.log_mel_spectrogram(waveform, front_end)) == frames


def test_efficientat_reads_whole_steps():
    front_end = FrontEnd(kind="efficientat", sample_rate=32_000, n_frames=1000, low_hz=0.0)
    assert front_end.clip_s == 10
    for extra, frames in ((-320, 999), (-319, 1000), (0, 1000), (1, 1001)):
        waveform = torch.zeros(front_end.n_samples + extra)
        assert front_end.frames_in(len(waveform)) == frames
        assert len(audio.log_mel_spectrogram(waveform, front_end)) == frames


def test_times_that_no_float_holds_give_whole_samples():
    for n_samples in (80, 256, 441, 1023):
        time_ms = 1000 * n_samples / 22_050
        front_end = FrontEnd(kind="decibel", sample_rate=22_050, frame_length_ms=time_ms)
        assert front_end.window_samples == n_samples


def test_settings_survive_a_dictionary_and_compare_by_value():
    front_end = FrontEnd(n_mels=64, mean=None, std=None)
    assert FrontEnd(**dataclasses.asdict(front_end)) == front_end
    assert hash(front_end) != hash(FrontEnd())
    with pytest.raises(dataclasses.FrozenInstanceError):
        front_end.n_mels = 128


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"kind": "mfcc"}, "kind is 'mfcc'; expected 'kaldi' or 'decibel' or 'epic_sounds'"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"n_mels": 0}, "n_mels"),
        ({"n_frames": -1}, "n_frames"),
        ({"frame_length_ms": 0.1}, "frames of"),
        ({"frame_shift_ms": 0.0}, "frames of"),
        ({"low_hz": -1.0}, "low_hz is -1.0; expected a number of at least 0"),
        ({"low_hz": 8000.0}, "mel bands"),
        ({"high_hz": 9000.0}, "mel bands"),
        ({"low_hz": 4000.0, "high_hz": 4000.0}, "mel bands"),
        ({"mean": None}, "both or neither"),
        ({"std": None}, "both or neither"),
        ({"std": 0.0}, "std"),
        ({"std": float("nan")}, "std"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, word):
    with pytest.raises(ConfigError, match=word):
        FrontEnd(**settings)
