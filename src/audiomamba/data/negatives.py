"""Sounds that are none of the classes, for training to say "none of them"."""

from collections.abc import Callable, Iterator

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
    phase = (np.arange(n_samples, dtype=np.float64) / n_samples * n_glides) % 1
    hz = first_hz * (last_hz / first_hz) ** phase
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


def notes(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A melody on one instrument: notes of falling harmonics, some struck, some held.

    Args:
        n_samples: samples in the result.
        sample_rate: rate in Hz.
        rng: random numbers.

    Returns:
        (n_samples,) float32.
    """
    slope, struck = rng.uniform(0.5, 2.5), rng.random() < 0.5
    base_hz = np.exp(rng.uniform(np.log(60), np.log(1000)))
    waveform = np.zeros(n_samples, dtype=np.float32)
    for start, length in _stretches(n_samples, sample_rate, rng, (0.08, 1.5)):
        hz = base_hz * 2 ** (rng.integers(-12, 13) / 12)
        harmonics = np.arange(1, min(24, int(0.45 * sample_rate / hz)) + 1)
        time_s = np.arange(length, dtype=np.float32) / np.float32(sample_rate)
        angular = (2 * np.pi * hz * harmonics).astype(np.float32)
        note = (harmonics**-slope).astype(np.float32) @ np.sin(angular[:, None] * time_s)
        waveform[start : start + length] += note * _swell(length, struck)
    return waveform


def voices(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Syllables: pulses or noise through three resonances, new ones each time.

    Args:
        n_samples: samples in the result.
        sample_rate: rate in Hz.
        rng: random numbers.

    Returns:
        (n_samples,) float32.
    """
    pitch_hz, size = np.exp(rng.uniform(np.log(80), np.log(500))), rng.uniform(0.8, 1.6)
    waveform = np.zeros(n_samples, dtype=np.float32)
    for start, length in _stretches(n_samples, sample_rate, rng, (0.05, 0.5)):
        hz = pitch_hz * np.exp(np.cumsum(rng.normal(0, 3.0, length)) / sample_rate)
        source = np.diff(np.floor(np.cumsum(hz) / sample_rate), prepend=0.0)
        if rng.random() < 0.3:
            source = 0.1 * rng.standard_normal(length)
        formants_hz = size * np.array(
            [rng.uniform(250, 900), rng.uniform(800, 2400), rng.uniform(2200, 3400)]
        )
        spectrum = np.fft.rfft(source)
        at_hz = np.fft.rfftfreq(length, 1 / sample_rate)[:, None]
        gain = (1 / (1 + ((at_hz - formants_hz) / rng.uniform(40, 160, 3)) ** 2)).sum(axis=1)
        syllable = np.fft.irfft(spectrum * gain, length)
        waveform[start : start + length] += syllable.astype(np.float32) * _swell(length, False)
    return waveform


def impacts(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Blows on a body that rings in a few inharmonic tones.

    Args:
        n_samples: samples in the result.
        sample_rate: rate in Hz.
        rng: random numbers.

    Returns:
        (n_samples,) float32.
    """
    n_tones = int(rng.integers(2, 9))
    angular = (2 * np.pi * _frequencies(n_tones, sample_rate, rng)).astype(np.float32)
    fading = np.exp(-rng.uniform(np.log(0.01), np.log(0.6), n_tones)).astype(np.float32)
    waveform = np.zeros(n_samples, dtype=np.float32)
    for start, _ in _stretches(n_samples, sample_rate, rng, (0.1, 2.0)):
        length = min(n_samples - start, sample_rate)
        time_s = np.arange(length, dtype=np.float32) / np.float32(sample_rate)
        rings = np.exp(-fading[:, None] * time_s) * np.sin(angular[:, None] * time_s)
        knock = rng.standard_normal(length, dtype=np.float32) * np.exp(time_s * np.float32(-250))
        waveform[start : start + length] += rng.random(n_tones, dtype=np.float32) @ rings + knock
    return waveform


def whooshes(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Bursts of noise within one band, rising and dying away, from a puff to a long gust.

    Args:
        n_samples: samples in the result.
        sample_rate: rate in Hz.
        rng: random numbers.

    Returns:
        (n_samples,) float32.
    """
    waveform = np.zeros(n_samples, dtype=np.float32)
    for start, length in _stretches(n_samples, sample_rate, rng, (0.05, 2.5)):
        spectrum = np.fft.rfft(rng.standard_normal(length))
        octaves = np.log2(np.maximum(np.fft.rfftfreq(length, 1 / sample_rate), 1.0))
        middle, width = np.log2(_frequencies(1, sample_rate, rng)[0]), rng.uniform(0.15, 1.5)
        band = np.exp(-0.5 * ((octaves - middle) / width) ** 2)
        gust = np.fft.irfft(spectrum * band, length).astype(np.float32)
        waveform[start : start + length] += gust * _swell(length, rng.random() < 0.5)
    return waveform


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


def _stretches(
    n_samples: int, sample_rate: int, rng: np.random.Generator, lengths_s: tuple[float, float]
) -> Iterator[tuple[int, int]]:
    """Starts and lengths of sounds that follow one another, with pauses of the same order."""
    shortest, longest = np.log(lengths_s)
    typical, pause = rng.uniform(shortest, longest), rng.uniform(0, 1.5)
    start = int(rng.integers(n_samples // 2 + 1))
    while start < n_samples:
        seconds = np.exp(np.clip(rng.normal(typical, 0.4), shortest, longest))
        length = max(16, int(seconds * sample_rate))
        yield start, min(length, n_samples - start)
        start += length + int(rng.exponential(pause) * length)


def _swell(length: int, struck: bool) -> np.ndarray:
    """How loudness goes over a sound: it falls from the first moment, or rises and falls evenly."""
    time = np.linspace(0, 1, length, dtype=np.float32)
    return np.exp(-5 * time) if struck else np.sqrt(np.sin(np.float32(np.pi) * time).clip(0))


def _frequencies(n_tones: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Frequencies in Hz from 40 to near half the rate, even on a log scale."""
    return np.exp(rng.uniform(np.log(40), np.log(0.45 * sample_rate), size=n_tones))


SOUNDS: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "chirps": chirps,
    "clicks": clicks,
    "impacts": impacts,
    "noise": noise,
    "notes": notes,
    "silence": silence,
    "tones": tones,
    "voices": voices,
    "whooshes": whooshes,
}
