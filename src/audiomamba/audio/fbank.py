"""Log-mel filter banks that agree with Kaldi's (kind "kaldi"), in torch, on any device.

Settings beyond those of FrontEnd are fixed to what AST and AuM use: snipped edges, the frame's mean
removed, pre-emphasis 0.97, a symmetric Hann window, power spectrum, natural logarithm, no dither.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba.audio.frames import frame_by_frame
from audiomamba.audio.front_end import FrontEnd
from audiomamba.errors import AudioError, ConfigError

__all__ = ["PRE_EMPHASIS", "as_batch", "kaldi_fbank", "kaldi_filters"]

PRE_EMPHASIS = 0.97
LOOPED_DEVICES = frozenset({"cpu"})  # one clip at a time stays in the cache, and is faster
SMALLEST_POWER = torch.finfo(torch.float32).eps


def kaldi_fbank(waveforms: Tensor, front_end: FrontEnd) -> Tensor:
    """Compute Kaldi-compatible log-mel filter bank values.

    A waveform shorter than one window is padded with zeros to one window.

    Args:
        waveforms: (batch, samples) or (samples,) at front_end.sample_rate, floating point, around
            -1 to 1. Half precision is computed in float32.
        front_end: the settings; its n_frames, mean and std are not used here.

    Returns:
        (batch, frames, mels) or (frames, mels), float32 or float64, on the waveforms' device;
        frames = 1 + (samples - window) // shift.

    Raises:
        ConfigError: the waveforms have another shape or are not floating point.
        AudioError: the waveforms have no samples.

    Source: Kaldi's compute-fbank-feats with htk-compat, as called by AST and AuM.

    Examples:
        >>> kaldi_fbank(torch.zeros(400), FrontEnd(n_mels=2))  # silence: the smallest power
        tensor([[-15.9424, -15.9424]])
    """
    batch = as_batch(waveforms)
    with torch.autocast(batch.device.type, enabled=False):
        if batch.device.type in LOOPED_DEVICES:
            log_mel = torch.stack([_log_mel(waveform, front_end) for waveform in batch])
        else:
            log_mel = _log_mel(batch, front_end)
    return log_mel if waveforms.ndim == 2 else log_mel[0]


def as_batch(waveforms: Tensor) -> Tensor:
    """Check waveforms and bring them into one shape and type.

    Args:
        waveforms: (batch, samples) or (samples,), floating point.

    Returns:
        (batch, samples), float32 or float64.

    Raises:
        ConfigError: the waveforms have another shape or are not floating point.
        AudioError: the waveforms have no samples.
    """
    if waveforms.ndim not in (1, 2) or not waveforms.is_floating_point():
        raise ConfigError(
            f"waveforms are {waveforms.dtype} of shape {tuple(waveforms.shape)}; "
            "expected floating point (batch, samples) or (samples,)"
        )
    if waveforms.numel() == 0:
        raise AudioError(f"waveforms of shape {tuple(waveforms.shape)} hold no samples")
    batch = waveforms if waveforms.ndim == 2 else waveforms[None]
    return batch if batch.dtype == torch.float64 else batch.float()


def _log_mel(waveforms: Tensor, front_end: FrontEnd) -> Tensor:
    """(..., samples) -> (..., frames, mels)."""
    window_samples, fft_samples = front_end.window_samples, _fft_samples(front_end)
    missing = window_samples - waveforms.shape[-1]
    if missing > 0:
        waveforms = F.pad(waveforms, (0, missing))
    window, filters = _window_and_filters(
        front_end.sample_rate,
        window_samples,
        fft_samples,
        front_end.n_mels,
        front_end.low_hz,
        front_end.highest_hz,
        waveforms.device,
        waveforms.dtype,
    )

    def of_frames(frames: Tensor) -> Tensor:
        frames = frames - frames.mean(dim=-1, keepdim=True)
        # The window is 0 at its first sample, which so needs no value: without it only phases
        # change.
        emphasized = torch.sub(frames[..., 1:], frames[..., :-1], alpha=PRE_EMPHASIS) * window[1:]
        spectrum = torch.fft.rfft(emphasized, n=fft_samples)
        power: Tensor = (spectrum.real.square() + spectrum.imag.square()) @ filters
        return power.clamp(min=SMALLEST_POWER).log()

    frames = waveforms.unfold(-1, window_samples, front_end.shift_samples)
    return frame_by_frame(frames, of_frames)


def _fft_samples(front_end: FrontEnd) -> int:
    """The next power of two that holds the window."""
    return 1 << (front_end.window_samples - 1).bit_length()


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # a tensor made in inference mode could not be used in training later
def _window_and_filters(
    sample_rate: int,
    window_samples: int,
    fft_samples: int,
    n_mels: int,
    low_hz: float,
    high_hz: float,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """The Hann window (window,) and Kaldi's triangular mel filters (bins, mels)."""
    window = torch.hann_window(window_samples, periodic=False, dtype=torch.float64, device="cpu")
    filters = kaldi_filters(
        n_mels, (low_hz, high_hz), fft_samples=fft_samples, sample_rate=sample_rate
    )
    return window.to(device, dtype), filters.to(device, dtype)


def kaldi_filters(
    n_mels: int, range_hz: tuple[float, float], *, fft_samples: int, sample_rate: int
) -> Tensor:
    """Make Kaldi's mel filters: triangles on the mel scale, not on that of frequency.

    Args:
        n_mels: number of mel bands.
        range_hz: lower edge of the lowest band and upper edge of the highest.
        fft_samples: samples of the Fourier transform, even.
        sample_rate: rate of the waveform in Hz.

    Returns:
        (bins, mels) float64, each filter of height 1.
    """
    bins_hz = torch.arange(fft_samples // 2 + 1, dtype=torch.float64, device="cpu")
    bins_mel = _mel(bins_hz * (sample_rate / fft_samples))
    low, high = _mel(torch.tensor(range_hz, dtype=torch.float64, device="cpu"))
    step = (high - low) / (n_mels + 1)
    left = low + step * torch.arange(n_mels, dtype=torch.float64, device="cpu")
    rising = (bins_mel[:, None] - left) / step
    filters = torch.minimum(rising, 2 - rising).clamp(min=0)
    filters[-1] = 0  # Kaldi leaves out the bin at half the sample rate
    return filters


def _mel(frequency_hz: Tensor) -> Tensor:
    """Frequency on the mel scale."""
    return 1127.0 * torch.log1p(frequency_hz / 700.0)
