"""Background noise, and clips mixed into it at known ratios; used by the benchmarks beside it."""

import numpy as np
import torch

from audiomamba.infer import EventRule
from audiomamba.infer.events import find_events

RATE_HZ = 16_000
BACKGROUND_RMS = 0.01
LEVEL_CHANGES_DB = 3.0
ACTIVE_DB, JOINED_S, SHORTEST_S = -35.0, 1.0, 0.1  # what counts as sound within a clip


def background(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Pink noise whose level changes slowly."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples, dtype=np.float32))
    bins = np.arange(len(spectrum), dtype=np.float32)
    spectrum /= np.sqrt(np.maximum(bins, 20 * n_samples / RATE_HZ))
    noise = np.fft.irfft(spectrum, n_samples).astype(np.float32)
    n_levels = max(2, round(n_samples / RATE_HZ / 4) + 1)
    levels_db = rng.uniform(-LEVEL_CHANGES_DB, LEVEL_CHANGES_DB, n_levels)
    places = np.linspace(0, n_levels - 1, n_samples, dtype=np.float32)
    gains = 10 ** (np.interp(places, np.arange(n_levels), levels_db).astype(np.float32) / 20)
    return BACKGROUND_RMS * gains * noise / noise.std()


def active_parts(samples: np.ndarray) -> list[tuple[float, float]]:
    """Where a clip is louder than ACTIVE_DB below its loudest point, in seconds."""
    step = RATE_HZ // 100
    power = (samples[: len(samples) // step * step].reshape(-1, step) ** 2).mean(1)
    power = np.convolve(power, np.ones(5) / 5, mode="same")
    loud = power > power.max() * 10 ** (ACTIVE_DB / 10)
    scores = torch.from_numpy(loud.astype(np.float32))[:, None]
    rule = EventRule(median_s=0, gap_s=JOINED_S, shortest_s=SHORTEST_S)
    return [(event.start_s, event.end_s) for event in find_events(scores, ["sound"], 0.01, rule)]


def mixed_at(
    clip: np.ndarray, noise: np.ndarray, snr_db: float, parts: list[tuple[float, float]]
) -> np.ndarray:
    """A clip scaled to a ratio of its active parts' power to the noise's."""
    active = np.concatenate([clip[round(a * RATE_HZ) : round(b * RATE_HZ)] for a, b in parts])
    gain = np.sqrt((noise**2).mean() / (active**2).mean()) * 10 ** (snr_db / 20)
    return np.asarray(clip * gain)
