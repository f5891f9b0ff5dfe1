"""The two mel scales: HTK's, and that of Slaney's auditory toolbox.

HTK's is logarithmic throughout; Slaney's is linear up to 1 kHz and logarithmic from there on.
"""

import math

from audiomamba.audio.front_end import FrontEnd

__all__ = ["from_mel", "to_mel"]

HTK_BREAK_HZ, HTK_FACTOR = 700.0, 1127.0
SLANEY_BREAK_HZ, SLANEY_STEP_HZ = 1000.0, 200.0 / 3.0
SLANEY_BREAK_MEL, SLANEY_LOG_STEP = 15.0, math.log(6.4) / 27.0


def to_mel(frequency_hz: float, front_end: FrontEnd) -> float:
    """Put a frequency on the mel scale of a front end.

    Args:
        frequency_hz: the frequency, from 0.
        front_end: the settings; kind "decibel" has Slaney's scale, the others HTK's.

    Returns:
        The position on the scale, from 0.
    """
    if front_end.kind != "decibel":
        return HTK_FACTOR * math.log1p(frequency_hz / HTK_BREAK_HZ)
    if frequency_hz < SLANEY_BREAK_HZ:
        return frequency_hz / SLANEY_STEP_HZ
    return SLANEY_BREAK_MEL + math.log(frequency_hz / SLANEY_BREAK_HZ) / SLANEY_LOG_STEP


def from_mel(mel: float, front_end: FrontEnd) -> float:
    """Find the frequency at a position on the mel scale of a front end.

    Args:
        mel: the position, from 0.
        front_end: the settings, as for to_mel.

    Returns:
        The frequency in Hz.
    """
    if front_end.kind != "decibel":
        return HTK_BREAK_HZ * math.expm1(mel / HTK_FACTOR)
    if mel < SLANEY_BREAK_MEL:
        return mel * SLANEY_STEP_HZ
    return SLANEY_BREAK_HZ * math.exp((mel - SLANEY_BREAK_MEL) * SLANEY_LOG_STEP)
