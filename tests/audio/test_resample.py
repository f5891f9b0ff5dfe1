import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiomamba.audio.resample import resample, resample_blocks
from audiomamba.errors import ConfigError


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44_100, 16_000), (8000, 32_000), (192_000, 4000)])
def test_length_is_the_old_one_times_the_ratio(from_hz, to_hz):
    assert len(resample(torch.zeros(from_hz), from_hz, to_hz)) == to_hz


def test_a_sine_is_the_same_sine_at_the_new_rate(tone):
    waveform = torch.from_numpy(tone(440, 44_100))
    expected = torch.from_numpy(tone(440, 16_000)).float()
    difference = resample(waveform, 44_100, 16_000) - expected
    assert difference[1000:-1000].abs().max() < 1e-4


def test_the_same_rate_changes_nothing():
    waveform = torch.rand(100)
    assert torch.equal(resample(waveform, 16_000, 16_000), waveform)
    assert resample(waveform.double(), 16_000, 16_000).dtype == torch.float32


def test_a_waveform_that_wants_a_gradient_is_taken():
    assert not resample(torch.rand(100, requires_grad=True), 16_000, 8000).requires_grad


@settings(deadline=None, max_examples=50)
@given(cuts=st.lists(st.integers(0, 3000), max_size=6))
def test_blocks_of_any_sizes_give_the_same_waveform(cuts):
    waveform = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    blocks = np.split(waveform, sorted(cuts))
    joined = np.concatenate(list(resample_blocks(blocks, 44_100, 16_000)))
    whole = resample(torch.from_numpy(waveform), 44_100, 16_000).numpy()
    np.testing.assert_allclose(joined, whole, atol=1e-6)


@pytest.mark.parametrize(
    "waveform", [torch.zeros(2, 100), torch.zeros(100, dtype=torch.int16), torch.tensor(0.0)]
)
def test_other_shapes_and_types_are_refused(waveform):
    with pytest.raises(ConfigError, match="floating point"):
        resample(waveform, 16_000, 8000)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(0, 16_000), (16_000, -1)])
def test_rates_below_1_are_refused(from_hz, to_hz):
    with pytest.raises(ConfigError, match="rates"):
        resample(torch.zeros(100), from_hz, to_hz)
