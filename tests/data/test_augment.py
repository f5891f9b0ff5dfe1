import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiomamba.data.augment import (
    Augment,
    change_speed,
    change_waveform,
    draw_box,
    draw_masks,
    draw_warp,
    loud_start,
    mix,
    shift,
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


@pytest.mark.parametrize("length", [3, 5])
def test_a_second_clip_is_cut_or_padded_to_the_first(length):
    first = np.ones(4, np.float32), np.array([1.0, 0.0], np.float32)
    second = np.full(length, 3.0, np.float32), np.array([0.0, 1.0], np.float32)
    waveform, target = mix(first, second, 0.25)
    np.testing.assert_allclose(waveform, [2.5, 2.5, 2.5, 0.25 if length == 3 else 2.5])
    np.testing.assert_allclose(target, [0.25, 0.75])


def test_a_short_clip_ends_where_it_ends_and_loses_its_mean():
    rng = np.random.default_rng(0)
    padded = change_waveform(np.float32([1, 2, 3]), 5, Augment(short_clips="pad"), rng)
    np.testing.assert_allclose(padded, [-1, 0, 1])
    repeated = change_waveform(np.float32([1, 2, 3]), 5, Augment(), rng)
    np.testing.assert_allclose(repeated, [1, 2, 3, 1, 2])


def test_of_a_long_clip_any_segment_may_be_taken():
    rng = np.random.default_rng(0)
    ramp, augment = np.arange(60, dtype=np.float32), Augment(segment_s=0.05)
    firsts = [change_waveform(ramp, 20, augment, rng, sample_rate=1000)[0] for _ in range(3000)]
    assert set(firsts) == set(range(11))  # 50 of 60 samples are left, of which 20 are used
    assert np.mean(firsts) == pytest.approx(5, abs=0.2)
    short = change_waveform(ramp[:40], 20, augment, rng, sample_rate=1000)
    np.testing.assert_array_equal(short, ramp[:20])


@given(st.integers(-12, 12))
def test_a_shift_moves_the_sound_and_leaves_silence(n_samples):
    clip = np.arange(1.0, 9.0)
    moved = shift(clip, n_samples)
    for place in range(8):
        source = place - n_samples
        assert moved[place] == (clip[source] if 0 <= source < 8 else 0)


def test_shifts_are_even_both_ways():
    rng = np.random.default_rng(0)
    impulse = np.zeros(401, np.float32)
    impulse[200] = 1
    augment = Augment(shift_s=0.1)
    places = [
        int(change_waveform(impulse, 401, augment, rng, sample_rate=1000).argmax()) - 200
        for _ in range(4000)
    ]
    assert (min(places), max(places)) == (-100, 100)
    assert np.mean(places) == pytest.approx(0, abs=3)
    assert np.std(places) == pytest.approx(200 / 12**0.5, rel=0.05)


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


@pytest.mark.parametrize("widest", [47, 191])
def test_masks_of_ast_and_aum_have_every_width_alike(widest):
    """torchaudio's parameter F means floor(F * u) with u even in 0 to 1: 0 to F - 1."""
    rng = np.random.default_rng(0)
    augment = Augment(n_frame_masks=1, frame_mask_frames=widest)
    ranges = np.concatenate([draw_masks(augment, (1024, 128), rng).frames for _ in range(20_000)])
    counts = np.bincount(ranges[:, 1] - ranges[:, 0], minlength=widest + 1)
    expected = 20_000 / (widest + 1)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert len(counts) == widest + 1
    assert chi_square == pytest.approx(widest, abs=4 * (2 * widest) ** 0.5)


def test_boxes_have_the_area_that_is_asked_for_unless_cut_off():
    rng = np.random.default_rng(0)
    shape, share = (100, 64), 0.75  # sides of a half: 50 frames and 32 mels
    boxes = np.stack([draw_box(share, shape, rng) for _ in range(4000)])
    frames, mels = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    assert (frames.max(), mels.max()) == (50, 32)
    assert boxes.min() >= 0
    assert boxes[:, 1].max() == 100
    assert boxes[:, 3].max() == 64
    whole = (frames == 50).mean(), (mels == 32).mean()
    assert whole == pytest.approx((51 / 100, 33 / 64), abs=0.03)
    # A middle anywhere in n cuts half a side n / 4 off in 2 of 4 cases, n / 8 in the mean of those.
    assert frames.mean() == pytest.approx(100 * (0.5 - 2 * 0.25 * 0.125), rel=0.02)
    assert np.corrcoef(frames, mels)[0, 1] == pytest.approx(0, abs=0.05)


def test_boxes_of_nothing_and_of_everything():
    rng = np.random.default_rng(0)
    first, last, low, high = draw_box(1.0, (100, 64), rng)
    assert (last - first) * (high - low) == 0
    areas = [np.diff(draw_box(0.0, (100, 64), rng).reshape(2, 2)).prod() for _ in range(500)]
    assert max(areas) > 0.9 * 6400


def test_warps_stay_inside_and_go_both_ways():
    rng = np.random.default_rng(0)
    augment = Augment(time_warp_frames=5)
    warps = np.stack([draw_warp(augment, 40, rng) for _ in range(4000)])
    moves = warps[:, 1] - warps[:, 0]
    assert set(warps[:, 0]) == set(range(5, 35))
    assert set(moves) == set(range(-4, 5))
    assert moves.mean() == pytest.approx(0, abs=0.15)
    assert draw_warp(augment, 10, rng).tolist() == [0, 0]


def test_masks_wider_than_the_spectrogram_fit():
    masks = draw_masks(Augment(n_mel_masks=50, mel_mask_bins=40), (10, 8), np.random.default_rng(0))
    assert masks.mels.max() <= 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"speed": (1.2, 0.8)}, "slowest <= fastest"),
        ({"mixup": 1.5}, "mixup is 1.5; expected a number from 0 to 1"),
        ({"mixup_alpha": 0.0}, "expected a number above 0"),
        ({"cutmix": -0.1}, "cutmix is -0.1; expected a number from 0 to 1"),
        ({"cutmix_alpha": 0.0}, "cutmix_alpha is 0.0; expected a number above 0"),
        ({"n_mel_masks": -1}, "n_mel_masks is -1; expected a whole number of at least 0"),
        ({"segment_s": 0.0}, "segment_s is 0.0; expected a number above 0"),
        ({"noise": -1.0}, "noise is -1.0; expected a number of at least 0"),
        ({"roll": True, "short_clips": "pad"}, "a roll needs 'repeat'"),
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
