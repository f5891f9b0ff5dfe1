"""What is done to the sound that a student hears, and not to its teacher's."""

import numpy as np

from audiomamba.recipes.mixtures import Degradation

__all__ = ["degrade"]

TILT_HZ = (50.0, 300.0, 1200.0, 5000.0, 16000.0)  # between these the tilt is straight, by octaves
SLOPE = 0.02  # of a band's edge, as a share of it: steep, as a resampler's


def degrade(
    draw: np.random.Generator, sound: np.ndarray, sample_rate: int, settings: Degradation
) -> np.ndarray:
    """Make a sound worse, as devices do.

    Args:
        draw: decides what is done.
        sound: (samples,) float32.
        sample_rate: in Hz.
        settings: how often, and how much.

    Returns:
        (samples,) float32.

    Examples:
        >>> draw = np.random.default_rng(0)
        >>> degrade(draw, np.ones(100, np.float32), 32_000, Degradation(band=1.0)).shape
        (100,)
    """
    is_clipped, is_louder, is_tilted, is_narrow = draw.random(4) < (
        settings.clipped,
        settings.gain,
        settings.tilt,
        settings.band,
    )
    if is_clipped:
        sound = np.clip(sound * _factor(draw.uniform(*settings.clipped_db)), -1, 1)
    if is_tilted or is_narrow:
        hz = np.fft.rfftfreq(len(sound), 1 / sample_rate)
        response = np.ones(len(hz))
        if is_tilted:
            levels = draw.uniform(-settings.tilt_db, settings.tilt_db, len(TILT_HZ))
            response *= _factor(np.interp(np.log(hz + 1), np.log(TILT_HZ), levels))
        if is_narrow:
            edge = float(draw.choice(settings.band_hz))
            response /= 1 + np.exp(np.clip((hz - edge) / (SLOPE * edge), -50, 50))
        sound = np.fft.irfft(np.fft.rfft(sound) * response, len(sound))
    if is_louder:
        sound = sound * _factor(draw.uniform(*settings.gain_db))
    return sound.astype(np.float32)


def _factor(decibels: float | np.ndarray) -> float | np.ndarray:
    factor: float | np.ndarray = 10 ** (decibels / 20)
    return factor
