import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiomamba.data.augment import (
    Augment,
    change_speed,
    change_waveform,
    draw_masks,
    loud_start,
    mix,
    wrap,
)
from audiomamba.errors import ConfigError


def tone(hz: float, n_samples: int = 16_000) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(n_samples) / 16_000).astype(np.float32)


def loudest_hz(waveform: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * 16_000 / len(waveform))


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.13, 1.25])
def test_speed_changes_length_and_pitch(speed):
    changed = change_speed(tone(1000), speed)
    assert len(changed) == pytest.approx(16_000 / speed, abs=1)
    assert loudest_hz(changed) == pytest.approx(1000 * speed, abs=2)
    assert changed.dtype == np.float32


@given(st.integers(1, 50), st.integers(0, 49), st.integers(1, 120))
def test_wrap_reads_around_the_end(length, start, n_samples):
    start %= length
    expected = [(start + i) % length for i in range(n_samples)]
    np.testing.assert_array_equal(wrap(np.arange(length), start, n_samples), expected)


def test_mix_weighs_sound_and_labels_alike():
    first = np.array([1.0, 0.0], np.float32), np.array([1.0, 0.0, 0.0], np.float32)
    second = np.array([0.0, 2.0], np.float32), np.array([0.0, 1.0, 0.0], np.float32)
    waveform, target = mix(first, second, 0.75)
    np.testing.assert_allclose(waveform, [0.75, 0.5])
    np.testing.assert_allclose(target, [0.75, 0.25, 0.0])
    assert waveform.dtype == target.dtype == np.float32


def test_nothing_is_changed_by_default():
    rng = np.random.default_rng(0)
    waveform = tone(440, 100)
    np.testing.assert_array_equal(change_waveform(waveform, 100, Augment(), rng), waveform)


def test_gain_is_even_in_decibels():
    rng = np.random.default_rng(0)
    ones = np.ones(4, np.float32)
    augment = Augment(gain_db=6.0)
    gains_db = [20 * np.log10(change_waveform(ones, 4, augment, rng)[0]) for _ in range(4000)]
    assert min(gains_db) > -6.001
    assert max(gains_db) < 6.001
    assert np.mean(gains_db) == pytest.approx(0, abs=0.2)
    assert np.std(gains_db) == pytest.approx(12 / 12**0.5, rel=0.05)


def test_roll_begins_anywhere():
    rng = np.random.default_rng(0)
    ramp = np.arange(1, 101, dtype=np.float32)
    firsts = [change_waveform(ramp, 100, Augment(roll=True), rng)[0] for _ in range(4000)]
    assert set(firsts) == set(range(1, 101))
    assert np.mean(firsts) == pytest.approx(50.5, abs=2)


def test_speed_is_even_on_a_log_scale():
    rng = np.random.default_rng(0)
    impulse = np.zeros(4000, np.float32)
    impulse[2000] = 1
    augment = Augment(speed=(0.8, 1.25))
    places = [change_waveform(impulse, 6000, augment, rng)[:2600].argmax() for _ in range(500)]
    logs = np.log(2000 / np.array(places))
    assert np.exp(logs.min()) > 0.79
    assert np.exp(logs.max()) < 1.26
    assert logs.mean() == pytest.approx(0, abs=0.02)
    assert logs.std() == pytest.approx(np.log(1.25 / 0.8) / 12**0.5, rel=0.1)


def test_masks_have_even_widths_and_stay_inside():
    rng = np.random.default_rng(0)
    augment = Augment(n_mel_masks=2, mel_mask_bins=16, n_frame_masks=3, frame_mask_frames=64)
    drawn = [draw_masks(augment, (512, 128), rng) for _ in range(3000)]
    mels = np.stack([masks.mels for masks in drawn])
    frames = np.stack([masks.frames for masks in drawn])
    assert mels.shape == (3000, 2, 2)
    assert frames.shape == (3000, 3, 2)
    for ranges, widest, length in ((mels, 16, 128), (frames, 64, 512)):
        widths = ranges[..., 1] - ranges[..., 0]
        assert widths.min() == 0
        assert widths.max() == widest
        assert widths.mean() == pytest.approx(widest / 2, rel=0.03)
        assert ranges.min() >= 0
        assert ranges.max() <= length
        assert ranges[..., 0].mean() == pytest.approx((length - widest / 2) / 2, rel=0.03)


def test_masks_wider_than_the_spectrogram_fit():
    masks = draw_masks(Augment(n_mel_masks=50, mel_mask_bins=40), (10, 8), np.random.default_rng(0))
    assert masks.mels.max() <= 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"speed": (1.2, 0.8)}, "slowest <= fastest"),
        ({"mixup": 1.5}, "mixup is 1.5; expected 0 to 1"),
        ({"mixup_alpha": 0.0}, "expected more than 0"),
        ({"n_mel_masks": -1}, "n_mel_masks is -1; expected 0 or more"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        Augment(**changes)


def test_a_piece_begins_where_something_is_heard():
    rng = np.random.default_rng(0)
    waveform = np.zeros(10_000, dtype=np.float32)
    waveform[9_000:] = waveform[:1_000] = 0.5
    starts = [loud_start(waveform, 2_000, rng) for _ in range(300)]
    heard = [np.abs(wrap(waveform, start, 2_000)).mean() > 0 for start in starts]
    assert np.mean(heard) > 0.9
    assert len(set(starts)) > 100
