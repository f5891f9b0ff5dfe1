import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audiomamba import audio
from audiomamba.audio import FrontEnd
from audiomamba.audio.fbank import SMALLEST_POWER
from audiomamba.errors import AudioError, ConfigError

SETTINGS = [
    FrontEnd(),
    FrontEnd(n_mels=64, frame_shift_ms=5.0),
    FrontEnd(sample_rate=32_000, n_mels=40, low_hz=0.0),
    FrontEnd(sample_rate=22_050, n_mels=23, low_hz=50.0, high_hz=9000.0),
    FrontEnd(sample_rate=8000, n_mels=20, frame_length_ms=32.0, frame_shift_ms=16.0),
]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def fbank_by_the_book(waveform: NDArray[np.float64], front_end: FrontEnd) -> NDArray[np.float64]:
    """Kaldi's steps one after the other, in float64: a frame at a time, a band at a time."""
    rate = front_end.sample_rate
    length, shift = (
        int(rate * front_end.frame_length_ms / 1000),
        int(rate * front_end.frame_shift_ms / 1000),
    )
    n_fft = 2 ** math.ceil(math.log2(length))
    high_hz = front_end.high_hz or rate / 2

    def mel(hz: float) -> float:
        return 1127 * math.log(1 + hz / 700)

    edges = np.linspace(mel(front_end.low_hz), mel(high_hz), front_end.n_mels + 2)
    rows = []
    for start in range(0, len(waveform) - length + 1, shift):
        frame = waveform[start : start + length]
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        frame = frame * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / (length - 1)))
        power = np.abs(np.fft.fft(frame, n_fft)) ** 2
        row = np.zeros(front_end.n_mels)
        for band in range(front_end.n_mels):
            left, center, right = edges[band : band + 3]
            for k in range(n_fft // 2):
                at = mel(k * rate / n_fft)
                if left < at < right:
                    up, down = (at - left) / (center - left), (right - at) / (right - center)
                    row[band] += min(up, down) * power[k]
        rows.append(np.log(np.maximum(row, np.finfo(np.float32).eps)))
    return np.array(rows)


@pytest.mark.parametrize("front_end", SETTINGS)
def test_equals_the_definition(front_end):
    waveform = noise(front_end.sample_rate // 10 + 37, seed=1) + 0.05
    expected = fbank_by_the_book(waveform.double().numpy(), front_end)

    exact = audio.kaldi_fbank(waveform.double(), front_end)
    single = audio.kaldi_fbank(waveform, front_end)

    np.testing.assert_allclose(exact.numpy(), expected, atol=1e-9)
    assert exact.dtype == torch.float64
    assert single.dtype == torch.float32
    assert np.abs(single.numpy() - expected).max() / np.abs(expected).max() < 1e-4


@settings(deadline=None, max_examples=50)
@given(n_samples=st.integers(1, 3000))
def test_number_of_frames(n_samples):
    log_mel = audio.kaldi_fbank(torch.zeros(n_samples), FrontEnd())
    assert log_mel.shape == (max(1, 1 + (n_samples - 400) // 160), 128)


def test_silence_is_the_smallest_value():
    log_mel = audio.kaldi_fbank(torch.zeros(1600), FrontEnd())
    torch.testing.assert_close(log_mel, torch.full_like(log_mel, math.log(SMALLEST_POWER)))


@pytest.mark.parametrize("frequency_hz", [200, 1000, 4000, 7500])
def test_a_tone_is_loudest_in_its_band(tone, frequency_hz):
    waveform = torch.from_numpy(tone(frequency_hz, 16_000)).float()
    low, high = (1127 * math.log(1 + hz / 700) for hz in (20, 8000))
    expected = (1127 * math.log(1 + frequency_hz / 700) - low) / (high - low) * 41 - 1
    band = audio.kaldi_fbank(waveform, FrontEnd(n_mels=40)).mean(dim=0).argmax()
    assert abs(int(band) - expected) <= 1


def test_what_lies_outside_low_and_high_is_not_seen(tone):
    front_end = FrontEnd(n_mels=20, low_hz=500.0, high_hz=2000.0)
    inside, below, above = (
        audio.kaldi_fbank(torch.from_numpy(tone(hz, 16_000)).float(), front_end).max()
        for hz in (1000, 100, 5000)
    )
    assert inside > below + 8
    assert inside > above + 8


def test_twice_as_loud_adds_the_logarithm_of_four():
    waveform, front_end = noise(4000), FrontEnd(n_mels=40)
    once, twice = (audio.kaldi_fbank(gain * waveform, front_end) for gain in (1, 2))
    torch.testing.assert_close(twice - once, torch.full_like(once, math.log(4)), atol=1e-3, rtol=0)


def test_a_constant_added_changes_nothing():
    waveform = noise(4000).double()
    torch.testing.assert_close(
        audio.kaldi_fbank(waveform + 0.5, FrontEnd()), audio.kaldi_fbank(waveform, FrontEnd())
    )


def test_a_later_start_shifts_the_frames():
    waveform = noise(4000)
    later = audio.kaldi_fbank(waveform[160:], FrontEnd())
    torch.testing.assert_close(later, audio.kaldi_fbank(waveform, FrontEnd())[1:])


def test_a_clip_shorter_than_a_window_is_padded_with_zeros():
    clip = noise(48)
    padded = torch.cat([clip, torch.zeros(352)])
    torch.testing.assert_close(
        audio.kaldi_fbank(clip, FrontEnd()), audio.kaldi_fbank(padded, FrontEnd())
    )


@pytest.mark.parametrize("function", [audio.kaldi_fbank, audio.features])
def test_a_batch_equals_its_clips(function):
    front_end = FrontEnd(n_frames=30)
    batch = noise(3, 4000)
    together = function(batch, front_end)
    for clip, result in zip(batch, together, strict=True):
        torch.testing.assert_close(function(clip, front_end), result, atol=0, rtol=0)


def test_the_path_of_other_devices_equals_that_of_the_cpu(monkeypatch):
    """On a GPU the batch goes through in one piece; the CPU can be told to do the same."""
    batch = noise(3, 4000)
    expected = audio.kaldi_fbank(batch, FrontEnd())
    monkeypatch.setattr("audiomamba.audio.fbank.LOOPED_DEVICES", frozenset())
    torch.testing.assert_close(audio.kaldi_fbank(batch, FrontEnd()), expected, atol=1e-5, rtol=0)


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu():
    batch = noise(4, 160_000)
    on_gpu = audio.features(batch.cuda(), FrontEnd())
    assert on_gpu.device.type == "cuda"
    torch.testing.assert_close(on_gpu.cpu(), audio.features(batch, FrontEnd()), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    waveform = noise(4000).to(dtype)
    log_mel = audio.kaldi_fbank(waveform, FrontEnd())
    assert log_mel.dtype == torch.float32
    torch.testing.assert_close(log_mel, audio.kaldi_fbank(waveform.float(), FrontEnd()))


def test_autocast_does_not_lower_the_precision():
    waveform = noise(4000)
    expected = audio.features(waveform, FrontEnd())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = audio.features(waveform, FrontEnd())
    torch.testing.assert_close(result, expected, atol=0, rtol=0)


def test_gradients_are_right():
    front_end = FrontEnd(sample_rate=1000, n_mels=4, low_hz=20.0)
    waveform = noise(60).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: audio.kaldi_fbank(x, front_end), waveform)


def test_inference_mode_leaves_nothing_behind_that_training_cannot_use():
    front_end = FrontEnd(sample_rate=1000, n_mels=5, low_hz=20.0)  # settings of no other test
    with torch.inference_mode():
        audio.kaldi_fbank(noise(100), front_end)
    waveform = noise(100).requires_grad_()
    audio.kaldi_fbank(waveform, front_end).sum().backward()
    assert waveform.grad is not None


def test_features_are_the_steps_in_order():
    front_end = FrontEnd(n_frames=30)
    waveform = noise(3000) + 0.2
    log_mel = audio.kaldi_fbank(waveform - waveform.mean(), front_end)
    expected = audio.normalize(audio.fit_frames(log_mel, front_end), front_end)
    torch.testing.assert_close(audio.features(waveform, front_end), expected)


def test_features_of_a_long_waveform_are_its_start_less_the_mean_of_all():
    front_end = FrontEnd(n_frames=10)
    waveform = noise(16_000)
    waveform[8000:] += 0.5
    expected = audio.kaldi_fbank(waveform - waveform.mean(), front_end)[:10]
    torch.testing.assert_close(
        audio.features(waveform, front_end), audio.normalize(expected, front_end)
    )


@pytest.mark.parametrize("n_samples", [1, 48, 399, 400, 16_000, 200_000])
def test_features_have_n_frames_whatever_the_length(n_samples):
    result = audio.features(noise(n_samples), FrontEnd())
    assert result.shape == (1024, 128)
    assert result.isfinite().all()


def test_padding_is_before_normalization():
    front_end = FrontEnd(n_frames=12, pad_log_mel=-3.0, mean=-4.0, std=2.0)
    padded = audio.features(noise(400), front_end)
    torch.testing.assert_close(padded[1:], torch.full((11, 128), 0.25))


def test_fit_frames_pads_at_the_end_and_cuts_the_end():
    front_end = FrontEnd(n_frames=5, pad_log_mel=7.0)
    log_mel = noise(2, 8, 3)
    torch.testing.assert_close(audio.fit_frames(log_mel, front_end), log_mel[:, :5])
    padded = audio.fit_frames(log_mel[:, :4], front_end)
    torch.testing.assert_close(padded[:, :4], log_mel[:, :4])
    assert (padded[:, 4:] == 7).all()


def test_normalize_uses_twice_the_deviation_or_nothing():
    log_mel = noise(4, 3)
    result = audio.normalize(log_mel, FrontEnd(mean=1.0, std=4.0))
    torch.testing.assert_close(result, (log_mel - 1) / 8)
    assert audio.normalize(log_mel, FrontEnd(mean=None, std=None)) is log_mel


@pytest.mark.parametrize("function", [audio.kaldi_fbank, audio.features])
@pytest.mark.parametrize(
    "waveforms", [torch.zeros(1, 2, 400), torch.tensor(0.0), torch.zeros(400, dtype=torch.int16)]
)
def test_other_shapes_and_types_are_refused(function, waveforms):
    with pytest.raises(ConfigError, match="floating point"):
        function(waveforms, FrontEnd())


@pytest.mark.parametrize("function", [audio.kaldi_fbank, audio.features])
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 400)])
def test_no_samples_are_refused(function, shape):
    with pytest.raises(AudioError, match="no samples"):
        function(torch.zeros(shape), FrontEnd())
