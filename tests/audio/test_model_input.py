"""Clips of different lengths in one batch of waveforms."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiomamba import audio
from audiomamba.audio import FrontEnd
from audiomamba.errors import ConfigError

SETTINGS = {
    "kaldi": FrontEnd(n_mels=32, n_frames=20, pad_log_mel=-3.0),
    "decibel": FrontEnd(kind="decibel", n_mels=32, n_frames=20),
    "epic_sounds": FrontEnd(
        kind="epic_sounds", n_mels=32, n_frames=20, high_hz=None, mean=None, std=None
    ),
    "efficientat": FrontEnd(kind="efficientat", n_mels=32, n_frames=20, mean=-4.5, std=2.5),
}


@pytest.mark.parametrize("kind", SETTINGS)
@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 5000), min_size=1, max_size=4),
    surplus=st.integers(0, 600),
    padding=st.sampled_from([0.0, 1.0, float("nan"), float("inf")]),
    offset=st.sampled_from([0.0, 0.5]),
)
def test_each_clip_of_a_batch_gets_what_it_gets_alone(kind, lengths, surplus, padding, offset):
    front_end = SETTINGS[kind]
    waveforms = torch.full((len(lengths), max(lengths) + surplus), padding)
    for clip, length in zip(waveforms, lengths, strict=True):
        clip[:length] = torch.randn(length) * 0.1 + offset
    found = audio.features(waveforms, front_end, torch.tensor(lengths))
    for clip, length, of_clip in zip(waveforms, lengths, found, strict=True):
        expected = audio.features(clip[:length], front_end)
        torch.testing.assert_close(of_clip, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("n_samples", [1, 399, 400, 401, 560, 5000])
def test_own_frames_are_those_of_the_clip_without_padding(kind, n_samples):
    front_end, waveform = SETTINGS[kind], torch.randn(n_samples)
    n_own = front_end.frames_in(n_samples)
    assert len(audio.log_mel_spectrogram(waveform, front_end)) == n_own
    tight = audio.features(waveform, replace(front_end, n_frames=n_own))
    padded = torch.cat([waveform, torch.randn(999)])[None]
    found = audio.features(padded, replace(front_end, n_frames=n_own), torch.tensor([n_samples]))
    torch.testing.assert_close(found[0], tight, rtol=1e-5, atol=1e-4)


def test_gradients_of_a_batch_do_not_reach_behind_a_clip():
    waveforms = torch.randn(2, 2000, requires_grad=True)
    audio.features(waveforms, SETTINGS["kaldi"], torch.tensor([2000, 900])).sum().backward()
    assert waveforms.grad is not None
    assert waveforms.grad[1, :900].any()
    assert not waveforms.grad[1, 900:].any()


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (torch.tensor([5]), r"int64 of shape \(1,\); expected integers \(2,\), the samples"),
        (torch.tensor([5.0, 6.0]), "float32 of shape"),
        (torch.tensor([0, 900]), "lengths go from 0 to 900; expected 1 to 900 samples"),
        (torch.tensor([5, 901]), "from 5 to 901"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths, message):
    with pytest.raises(ConfigError, match=message):
        audio.features(torch.randn(2, 900), SETTINGS["kaldi"], lengths)
