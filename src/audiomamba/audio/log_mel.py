"""Log-mel spectrograms whose frames are centered on their steps, in torch, on any device.

Three kinds, as FrontEnd.kind names them:

    decibel       Hann window, reflected ends, power, Slaney's mel bands of equal area, decibels;
                  as PANNs and HTS-AT compute it inside their models
    epic_sounds   Hann window, silent ends, magnitude, HTK's mel bands of equal height, natural
                  logarithm; as the loaders of the EPIC-SOUNDS models compute it
    efficientat   pre-emphasis of the whole sound, symmetric Hann window, reflected ends, power,
                  Kaldi's mel bands, natural logarithm; as EfficientAT computes it before its models
"""

import math
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba.audio.fbank import PRE_EMPHASIS, kaldi_filters
from audiomamba.audio.frames import frame_by_frame
from audiomamba.audio.front_end import FrontEnd
from audiomamba.audio.mel_scale import from_mel, to_mel

__all__ = [
    "LOG_SILENCE",
    "SILENCE_DB",
    "decibel_mel",
    "efficientat_mel",
    "epic_sounds_mel",
    "mel_filters",
    "power_spectrogram",
]

SILENCE_DB = -100.0
SMALLEST_POWER = 1e-10  # SILENCE_DB as power
ADDED_MAGNITUDE = 1e-6
EPIC_FFT_SAMPLES = 2048
ADDED_POWER = 1e-5
LOG_SILENCE = math.log(ADDED_POWER)  # what kind "efficientat" gives for silence


def decibel_mel(waveforms: Tensor, front_end: FrontEnd) -> Tensor:
    """Compute the log-mel spectrogram of PANNs and HTS-AT.

    Args:
        waveforms: (batch, samples) at front_end.sample_rate, float32 or float64.
        front_end: the settings; its n_frames, mean and std are not used here.

    Returns:
        (batch, frames, mels) in decibels, at least -100; frames = 1 + samples // shift.

    Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
    Recognition" (2020), released code.
    """
    filters = mel_filters(front_end, waveforms.device, waveforms.dtype)

    def of_frames(frames: Tensor) -> Tensor:
        mel: Tensor = _power(frames, front_end) @ filters
        return 10.0 * mel.clamp(min=SMALLEST_POWER).log10()

    return frame_by_frame(_reflected_frames(waveforms, front_end), of_frames)


def power_spectrogram(waveforms: Tensor, front_end: FrontEnd) -> Tensor:
    """Compute the power at each frequency over time, as decibel_mel needs it.

    A waveform that is too short to be reflected is padded with zeros first.

    Args:
        waveforms: (batch, samples) at front_end.sample_rate, float32 or float64.
        front_end: the settings, of kind "decibel".

    Returns:
        (batch, frames, bins).
    """
    return _power(_reflected_frames(waveforms, front_end), front_end)


def epic_sounds_mel(waveforms: Tensor, front_end: FrontEnd) -> Tensor:
    """Compute the log-mel spectrogram of the EPIC-SOUNDS models.

    Args:
        waveforms: (batch, samples) at front_end.sample_rate, float32 or float64.
        front_end: the settings; its n_frames, mean and std are not used here.

    Returns:
        (batch, frames, mels), natural logarithm of magnitudes; frames = 1 + samples // shift.

    Source: Erol et al. 2024, released code, loader of EPIC-SOUNDS.
    """
    filters = mel_filters(front_end, waveforms.device, waveforms.dtype)

    def of_frames(frames: Tensor) -> Tensor:
        mel: Tensor = _spectrum(frames, front_end).abs() @ filters
        return (mel + ADDED_MAGNITUDE).log()

    return frame_by_frame(_frames(F.pad(waveforms, _ends(front_end)), front_end), of_frames)


def efficientat_mel(waveforms: Tensor, front_end: FrontEnd) -> Tensor:
    """Compute the log-mel spectrogram of EfficientAT.

    A waveform that is too short to be reflected is padded with zeros first.

    Args:
        waveforms: (batch, samples) at front_end.sample_rate, float32 or float64.
        front_end: the settings; its n_frames, mean and std are not used here.

    Returns:
        (batch, frames, mels), natural logarithm of power, at least log(1e-5); frames =
        1 + (samples - 1) // shift.

    Source: Schmid et al., "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge
    Distillation" (2023), released code.
    """
    filters = mel_filters(front_end, waveforms.device, waveforms.dtype)
    n_frames = front_end.frames_in(waveforms.shape[-1])
    missing = max(0, 2 + _ends(front_end)[1] - waveforms.shape[-1])
    waveforms = F.pad(waveforms, (0, missing))
    emphasized = torch.sub(waveforms[..., 1:], waveforms[..., :-1], alpha=PRE_EMPHASIS)

    def of_frames(frames: Tensor) -> Tensor:
        mel: Tensor = _power(frames, front_end) @ filters
        return (mel + ADDED_POWER).log()

    padded = F.pad(emphasized, _ends(front_end), mode="reflect")
    return frame_by_frame(_frames(padded, front_end)[:, :n_frames], of_frames)


def mel_filters(front_end: FrontEnd, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Make the triangular mel filters of every kind but "kaldi".

    Args:
        front_end: the settings.
        device: where the filters are to be.
        dtype: their type.

    Returns:
        (bins, mels); of equal area for "decibel", of height 1 for the others.
    """
    bare = replace(front_end, n_frames=1, mean=None, std=None, pad_log_mel=0.0)
    return _mel_filters(bare, device, dtype)


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # a tensor made in inference mode could not be used in training later
def _mel_filters(front_end: FrontEnd, device: torch.device, dtype: torch.dtype) -> Tensor:
    if front_end.kind == "efficientat":
        return kaldi_filters(
            front_end.n_mels,
            (front_end.low_hz, front_end.highest_hz),
            fft_samples=_fft_samples(front_end),
            sample_rate=front_end.sample_rate,
        ).to(device, dtype)
    low = to_mel(front_end.low_hz, front_end)
    step = (to_mel(front_end.highest_hz, front_end) - low) / (front_end.n_mels + 1)
    edges_mel = [low + step * index for index in range(front_end.n_mels + 2)]
    edges_hz = torch.tensor(
        [from_mel(mel, front_end) for mel in edges_mel], dtype=torch.float64, device="cpu"
    )
    n_fft = _fft_samples(front_end)
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64, device="cpu")
    bins_hz = (bins * (front_end.sample_rate / n_fft))[:, None]
    left, middle, right = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising, falling = (bins_hz - left) / (middle - left), (right - bins_hz) / (right - middle)
    filters = torch.minimum(rising, falling).clamp(min=0)
    if front_end.kind == "decibel":
        filters = filters * 2 / (right - left)
    return filters.to(device, dtype)


def _reflected_frames(waveforms: Tensor, front_end: FrontEnd) -> Tensor:
    """(batch, samples) -> (batch, frames, window), with the ends reflected."""
    n_frames, (before, after) = front_end.frames_in(waveforms.shape[-1]), _ends(front_end)
    missing = max(0, after + 1 - waveforms.shape[-1])
    reflected = F.pad(F.pad(waveforms, (0, missing)), (before, after), mode="reflect")
    return _frames(reflected, front_end)[:, :n_frames]


def _frames(padded: Tensor, front_end: FrontEnd) -> Tensor:
    """(batch, samples) -> (batch, frames, window), overlapping, not yet windowed."""
    return padded.unfold(-1, front_end.window_samples, front_end.shift_samples)


def _spectrum(frames: Tensor, front_end: FrontEnd) -> Tensor:
    """(batch, frames, window) -> (batch, frames, bins), complex."""
    window = torch.hann_window(
        front_end.window_samples,
        periodic=front_end.kind != "efficientat",
        dtype=frames.dtype,
        device=frames.device,
    )
    spectrum: Tensor = torch.fft.rfft(frames * window, n=_fft_samples(front_end))
    return spectrum


def _power(frames: Tensor, front_end: FrontEnd) -> Tensor:
    spectrum = _spectrum(frames, front_end)
    return spectrum.real.square() + spectrum.imag.square()


def _ends(front_end: FrontEnd) -> tuple[int, int]:
    """Samples before and after the sound that the first and last frame look at."""
    before = front_end.window_samples // 2
    return before, front_end.window_samples - before


def _fft_samples(front_end: FrontEnd) -> int:
    """Samples of the Fourier transform: the window, or more where zeros fill it up."""
    if front_end.kind == "decibel":
        return front_end.window_samples
    if front_end.kind == "efficientat":
        return 1 << (front_end.window_samples - 1).bit_length()
    return max(EPIC_FFT_SAMPLES, front_end.window_samples)
