import numpy as np
import pytest

from audiomamba.data.negatives import SOUNDS, mirror, noise, synthesize


@pytest.mark.parametrize("name", sorted(SOUNDS))
def test_every_kind_is_finite_and_of_the_right_length(name):
    rng = np.random.default_rng(0)
    for _ in range(20):
        waveform = SOUNDS[name](8_000, 16_000, rng)
        assert waveform.shape == (8_000,)
        assert waveform.dtype == np.float32
        assert np.isfinite(waveform).all()


def test_levels_lie_in_their_range():
    rng = np.random.default_rng(0)
    peaks = np.array([np.abs(synthesize(4_000, 16_000, rng)).max() for _ in range(300)])
    heard_db = 20 * np.log10(peaks[peaks > 0])
    assert heard_db.min() > -60.1
    assert heard_db.max() < -2.9
    assert 0 < np.mean(peaks == 0) < 0.2  # silence


def test_the_tilt_of_noise_varies():
    rng = np.random.default_rng(0)
    slopes = []
    for _ in range(50):
        power = np.abs(np.fft.rfft(noise(16_000, 16_000, rng))) ** 2
        low, high = power[100:200].mean(), power[4000:8000].mean()
        slopes.append(np.log(low / high) / np.log(6000 / 150))
    assert min(slopes) < -0.5
    assert max(slopes) > 2.5


def test_a_mirrored_tone_is_as_far_from_the_top_as_it_was_from_the_bottom():
    time_s = np.arange(16_000) / 16_000
    mirrored = mirror(np.sin(2 * np.pi * 1_000 * time_s).astype(np.float32))
    assert np.abs(np.fft.rfft(mirrored)).argmax() == 7_000
