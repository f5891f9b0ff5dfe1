import math

import numpy as np
import pytest
import torch

from audiomamba import audio
from audiomamba.audio import FrontEnd
from audiomamba.audio.log_mel import mel_filters
from audiomamba.audio.mel_scale import from_mel, to_mel

DECIBEL = FrontEnd(
    kind="decibel",
    sample_rate=8000,
    n_mels=32,
    frame_length_ms=32.0,
    n_frames=50,
    low_hz=50.0,
    mean=None,
    std=None,
)
EPIC = FrontEnd(
    kind="epic_sounds",
    sample_rate=24_000,
    n_mels=64,
    frame_length_ms=10.0,
    frame_shift_ms=5.0,
    low_hz=0.0,
    n_frames=50,
    mean=None,
    std=None,
)
EFFICIENTAT = FrontEnd(
    kind="efficientat",
    sample_rate=8000,
    n_mels=32,
    n_frames=50,
    low_hz=0.0,
    high_hz=3750.0,
    mean=None,
    std=None,
)
KINDS = [DECIBEL, EPIC, EFFICIENTAT]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def filters_by_the_book(front_end: FrontEnd, n_fft: int) -> np.ndarray:
    """Triangles between neighbors of equally spaced places on the mel scale."""
    low, high = to_mel(front_end.low_hz, front_end), to_mel(front_end.highest_hz, front_end)
    edges = [from_mel(m, front_end) for m in np.linspace(low, high, front_end.n_mels + 2)]
    bins = np.arange(n_fft // 2 + 1) * front_end.sample_rate / n_fft
    bands = [np.interp(bins, edges[i : i + 3], [0, 1, 0]) for i in range(front_end.n_mels)]
    if front_end.kind == "decibel":
        bands = [2 * b / (edges[i + 2] - edges[i]) for i, b in enumerate(bands)]
    return np.stack(bands, axis=1)


def efficientat_by_the_book(waveform: np.ndarray, front_end: FrontEnd) -> np.ndarray:
    """Frame by frame, centered, of the sound's emphasized differences; in float64."""
    window_samples, n_fft = 200, 256
    emphasized = waveform[1:] - 0.97 * waveform[:-1]
    padded = np.pad(emphasized, n_fft // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_samples) / (window_samples - 1))
    window = np.pad(window, (n_fft - window_samples) // 2)
    edges_mel = np.linspace(
        to_mel(front_end.low_hz, front_end), to_mel(front_end.highest_hz, front_end), 32 + 2
    )
    bins_hz = np.arange(n_fft // 2 + 1) * front_end.sample_rate / n_fft
    bins_mel = [to_mel(hz, front_end) for hz in bins_hz]
    bands = [np.interp(bins_mel, edges_mel[i : i + 3], [0, 1, 0]) for i in range(32)]
    rows = []
    for start in range(0, len(padded) - n_fft + 1, front_end.shift_samples):
        power = np.abs(np.fft.rfft(padded[start : start + n_fft] * window)) ** 2
        rows.append(np.log(power @ np.stack(bands, axis=1) + 1e-5))
    return np.stack(rows)


def by_the_book(waveform: np.ndarray, front_end: FrontEnd) -> np.ndarray:
    """Frame by frame, centered; in float64."""
    if front_end.kind == "efficientat":
        return efficientat_by_the_book(waveform, front_end)
    window_samples, shift = front_end.window_samples, front_end.shift_samples
    decibel = front_end.kind == "decibel"
    n_fft = window_samples if decibel else 2048
    padded = np.pad(waveform, n_fft // 2, mode="reflect" if decibel else "constant")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_samples) / window_samples)
    window = np.pad(window, (n_fft - window_samples) // 2)
    filters = filters_by_the_book(front_end, n_fft)
    rows = []
    for start in range(0, len(padded) - n_fft + 1, shift):
        magnitude = np.abs(np.fft.rfft(padded[start : start + n_fft] * window))
        if decibel:
            rows.append(10 * np.log10(np.maximum(magnitude**2 @ filters, 1e-10)))
        else:
            rows.append(np.log(magnitude @ filters + 1e-6))
    return np.stack(rows)


@pytest.mark.parametrize("front_end", KINDS)
@pytest.mark.parametrize("n_samples", [3000, 8000, 8001])
def test_equals_the_definition(front_end, n_samples):
    waveform = noise(n_samples).double()
    found = audio.log_mel_spectrogram(waveform, front_end)
    assert len(found) == front_end.frames_in(n_samples)
    expected = torch.from_numpy(by_the_book(waveform.numpy(), front_end))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    single = audio.log_mel_spectrogram(waveform.float(), front_end)
    torch.testing.assert_close(single.double(), expected, atol=1e-2, rtol=0)


@pytest.mark.parametrize("front_end", KINDS)
def test_filters_cover_their_range(front_end):
    filters = mel_filters(front_end, torch.device("cpu"), torch.float64)
    step_hz = front_end.sample_rate / 2 / (len(filters) - 1)
    bins_hz = step_hz * torch.arange(len(filters))
    outside = (bins_hz <= front_end.low_hz) | (bins_hz >= front_end.highest_hz)
    assert not filters[outside].any()
    if front_end.kind == "decibel":  # wide bands, sampled often enough to see their area
        torch.testing.assert_close(
            filters[:, -5:].sum(0) * step_hz, torch.ones(5).double(), atol=0.01, rtol=0
        )


@pytest.mark.parametrize("front_end", KINDS)
@pytest.mark.parametrize("hz", [0.0, 100.0, 999.0, 1000.0, 3000.0, 11_000.0])
def test_mel_scales_go_both_ways(front_end, hz):
    assert from_mel(to_mel(hz, front_end), front_end) == pytest.approx(hz)


def test_the_scales_have_their_known_marks():
    assert to_mel(1000.0, DECIBEL) == 15
    assert to_mel(6400.0, DECIBEL) == pytest.approx(42)
    assert to_mel(1000.0, EPIC) == pytest.approx(1000, abs=0.1)


def test_silence_is_the_least_that_each_kind_gives():
    assert (audio.log_mel_spectrogram(torch.zeros(8000), DECIBEL) == -100).all()
    expected = torch.full((401, 64), math.log(1e-6))
    torch.testing.assert_close(audio.log_mel_spectrogram(torch.zeros(48_000), EPIC), expected)
    expected = torch.full((100, 32), math.log(1e-5))
    found = audio.log_mel_spectrogram(torch.zeros(8000), EFFICIENTAT)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("front_end", [*KINDS, FrontEnd(n_mels=32, n_frames=50)])
def test_ten_times_the_amplitude_is_twenty_decibels_more(front_end):
    waveform = noise(12_000)
    once, tenfold = (
        audio.to_decibels(audio.log_mel_spectrogram(gain * waveform, front_end), front_end)
        for gain in (10, 100)  # less would be near what is added to powers
    )
    torch.testing.assert_close(tenfold - once, torch.full_like(once, 20.0), atol=0.02, rtol=0)


@pytest.mark.parametrize("front_end", KINDS)
@pytest.mark.parametrize("n_samples", [1, 50, 128, 129, 1000])
def test_short_sounds_are_read_and_filled_up(front_end, n_samples):
    waveform = noise(n_samples)
    assert len(audio.log_mel_spectrogram(waveform, front_end)) == front_end.frames_in(n_samples)
    found = audio.features(waveform, front_end)
    assert found.shape == (50, front_end.n_mels)
    assert found.isfinite().all()


@pytest.mark.parametrize(
    ("front_end", "silence"), [(DECIBEL, -100.0), (EFFICIENTAT, math.log(1e-5))]
)
def test_some_kinds_are_filled_up_with_silence(front_end, silence):
    short = noise(2000)
    silent = torch.cat([short, torch.zeros(front_end.n_samples - 2000)])
    found = audio.features(short, front_end)
    torch.testing.assert_close(found, audio.log_mel_spectrogram(silent, front_end))
    expected = torch.full((20, 32), silence)
    torch.testing.assert_close(found[-20:], expected)
    torch.testing.assert_close(audio.fit_frames(found[:10], front_end)[10:30], expected)


def test_epic_sounds_go_on_with_their_last_frame():
    found = audio.features(noise(2400), EPIC)
    torch.testing.assert_close(found[20:], found[20:21].expand(30, -1), atol=0, rtol=0)
    assert not torch.equal(found[19], found[20])


@pytest.mark.parametrize("front_end", KINDS)
def test_a_long_sound_is_cut(front_end):
    waveform = noise(5 * front_end.n_samples)
    found = audio.features(waveform, front_end)
    whole = audio.log_mel_spectrogram(waveform, front_end)
    inner = 50 if front_end.kind == "epic_sounds" else 48  # whose last frames see the cut
    torch.testing.assert_close(found[:inner], whole[:inner])


@pytest.mark.parametrize("front_end", KINDS)
@pytest.mark.parametrize("function", [audio.log_mel_spectrogram, audio.features])
def test_a_batch_equals_its_clips(front_end, function):
    batch = noise(3, 4000)
    together = function(batch, front_end)
    for clip, result in zip(batch, together, strict=True):
        torch.testing.assert_close(function(clip, front_end), result)


@pytest.mark.parametrize("front_end", KINDS)
def test_autocast_and_half_precision_do_not_touch_it(front_end):
    waveform = noise(4000)
    expected = audio.features(waveform, front_end)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(audio.features(waveform, front_end), expected)
    assert audio.features(waveform.half(), front_end).dtype == torch.float32


@pytest.mark.parametrize("front_end", KINDS)
def test_gradients_reach_the_sound(front_end):
    waveform = noise(2000).requires_grad_()
    audio.features(waveform, front_end).sum().backward()
    assert waveform.grad.abs().sum() > 0


def test_statistics_normalize_any_kind():
    measured = FrontEnd(**{**vars(DECIBEL), "mean": -30.0, "std": 10.0})
    plain = audio.features(noise(8000), DECIBEL)
    torch.testing.assert_close(audio.features(noise(8000), measured), (plain + 30) / 20)
