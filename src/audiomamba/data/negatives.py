"""Sounds that are none of the classes, for training to say "none of them"."""

from collections.abc import Callable

import numpy as np

__all__ = ["SOUNDS", "mirror", "synthesize"]

LEVELS_DB = (-60.0, -3.0)  # of the loudest sample


def mirror(waveform: np.ndarray) -> np.ndarray:
    """Turn a sound's spectrum upside down: what was at 0 Hz goes to half the rate, and the reverse.

    Loudness keeps its course in time: the result is as lively as a recording but unlike its source.

    Args:
        waveform: (samples,).

    Returns:
        (samples,).
    """
    mirrored = waveform.copy()
    mirrored[1::2] *= -1
    return mirrored


def synthesize(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Make one sound of a random kind at a random level.

    Args:
        n_samples: samples in the result.
        sample_rate: its rate in Hz.
        rng: the clip's random numbers.

    Returns:
        (n_samples,) float32.
    """
    names = sorted(SOUNDS)
    waveform = SOUNDS[names[rng.integers(len(names))]](n_samples, sample_rate, rng)
    peak = max(float(np.abs(waveform).max()), 1e-9)
    level = 10 ** (rng.uniform(*LEVELS_DB) / 20)
    return (waveform * (level / peak)).astype(np.float32)


def noise(n_samples: int, _sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise whose power falls as frequency to a power from -1 (rising) over 0 (white) to 3.

    Args:
        n_samples: samples in the result.
        rng: random numbers.

    Returns:
        (n_samples,) float32.
    """
    spectrum = np.fft.rfft(rng.standard_normal(n_samples, dtype=np.float32))
    tilt = np.maximum(np.arange(len(spectrum), dtype=np.float32), 20.0) ** np.float32(
        -rng.uniform(-1, 3) / 2
    )
    return np.fft.irfft(spectrum * tilt, n_samples).astype(np.float32)


def tones(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """One to five steady tones, beating or tremulous in some.

    Args:
        n_samples: samples in the result.
        sample_rate: rate in Hz.
        rng: random numbers.

    Returns:
        (n_samples,) float32.
    """
    time_s = np.arange(n_samples, dtype=np.float32) / np.float32(sample_rate)
    n_tones = int(rng.integers(1, 6))
    waveform = np.zeros(n_samples, dtype=np.float32)
    for hz, weight in zip(
        _frequencies(n_tones, sample_rate, rng), rng.random(n_tones), strict=True
    ):
        waveform += np.float32(weight + 0.1) * np.sin(np.float32(2 * np.pi * hz) * time_s)
    depth, rate_hz = rng.uniform(0, 0.9), rng.uniform(0.2, 12)
    waveform *= 1 + np.float32(depth) * np.sin(np.float32(2 * np.pi * rate_hz) * time_s)
    return waveform


def chirps(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A tone that glides between two frequencies, once or again and again.

    Args:
        n_samples: samples in the result.
        sample_rate: rate in Hz.
        rng: random numbers.

    Returns:
        (n_samples,) float32.
    """
    first_hz, last_hz = _frequencies(2, sample_rate, rng)
    n_glides = rng.uniform(1, 20)
    place = (np.arange(n_samples, dtype=np.float64) / n_samples * n_glides) % 1
    hz = first_hz * (last_hz / first_hz) ** place
    return np.sin(2 * np.pi * np.cumsum(hz) / sample_rate).astype(np.float32)


def clicks(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Clicks at irregular times, each a short decaying noise.

    Args:
        n_samples: samples in the result.
        sample_rate: rate in Hz.
        rng: random numbers.

    Returns:
        (n_samples,) float32.
    """
    length = max(2, int(sample_rate * rng.uniform(0.0005, 0.02)))
    shape = rng.standard_normal(length, dtype=np.float32)
    shape *= np.exp(np.linspace(0, -6, length, dtype=np.float32))
    n_clicks = rng.poisson(rng.uniform(0.5, 60) * n_samples / sample_rate)
    waveform = np.zeros(n_samples + length, dtype=np.float32)
    for start in rng.integers(n_samples, size=n_clicks):
        waveform[start : start + length] += np.float32(rng.uniform(0.2, 1)) * shape
    return waveform[:n_samples]


def silence(n_samples: int, _sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Nothing, or in half of the cases the last bit of a quiet recording.

    Args:
        n_samples: samples in the result.
        rng: random numbers.

    Returns:
        (n_samples,) float32.
    """
    if rng.random() < 0.5:
        return np.zeros(n_samples, dtype=np.float32)
    return rng.integers(-1, 2, size=n_samples).astype(np.float32)


def _frequencies(n_tones: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Frequencies in Hz from 40 to near half the rate, even on a log scale."""
    return np.exp(rng.uniform(np.log(40), np.log(0.45 * sample_rate), size=n_tones))


SOUNDS: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "chirps": chirps,
    "clicks": clicks,
    "noise": noise,
    "silence": silence,
    "tones": tones,
}
