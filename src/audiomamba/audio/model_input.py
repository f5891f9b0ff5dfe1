"""From waveforms to a model's input, whatever the kind of its front end."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba.audio.fbank import as_batch, kaldi_fbank
from audiomamba.audio.front_end import FrontEnd, Kind
from audiomamba.audio.log_mel import SILENCE_DB, decibel_mel, epic_sounds_mel

__all__ = ["features", "fit_frames", "log_mel_spectrogram", "normalize", "to_decibels"]

# Decibels per unit of the log-mel values.
_DECIBELS: dict[Kind, float] = {
    "kaldi": 10 / math.log(10),
    "decibel": 1.0,
    "epic_sounds": 20 / math.log(10),
}


def features(waveforms: Tensor, front_end: FrontEnd) -> Tensor:
    """Turn waveforms into a model's input: log-mel values, fitted to its length and normalized.

    Args:
        waveforms: (batch, samples) or (samples,) at front_end.sample_rate, floating point.
        front_end: the settings, as saved in the model.

    Returns:
        (batch, n_frames, mels) or (n_frames, mels), float32 or float64.

    Raises:
        ConfigError: the waveforms have another shape or are not floating point.
        AudioError: the waveforms have no samples.

    Source: the data loaders of AST and AuM; those of HTS-AT for kind "decibel".
    """
    batch = as_batch(waveforms)
    n_samples = front_end.n_samples
    match front_end.kind:
        case "kaldi":
            batch = _without_mean(batch)[:, :n_samples]
        case "decibel":
            batch = F.pad(batch, (0, max(0, n_samples - batch.shape[1])))[:, :n_samples]
        case "epic_sounds":
            batch = batch[:, : n_samples + front_end.window_samples]
    result = normalize(fit_frames(_log_mel(batch, front_end), front_end), front_end)
    return result if waveforms.ndim == 2 else result[0]


def log_mel_spectrogram(waveforms: Tensor, front_end: FrontEnd) -> Tensor:
    """Compute the log-mel values that a model's input is made of, for sound of any length.

    Args:
        waveforms: (batch, samples) or (samples,) at front_end.sample_rate, floating point.
        front_end: the settings; its length and statistics play no part here.

    Returns:
        (batch, frames, mels) or (frames, mels), float32 or float64, in the unit of the front end's
        kind.

    Raises:
        ConfigError: the waveforms have another shape or are not floating point.
        AudioError: the waveforms have no samples.
    """
    batch = as_batch(waveforms)
    if front_end.kind == "kaldi":
        batch = _without_mean(batch)
    log_mel = _log_mel(batch, front_end)
    return log_mel if waveforms.ndim == 2 else log_mel[0]


def to_decibels(log_mel: Tensor, front_end: FrontEnd) -> Tensor:
    """Convert log-mel values, before normalization, to decibels.

    Args:
        log_mel: of any shape.
        front_end: the settings that it was made with.

    Returns:
        The same shape, in decibels.
    """
    return log_mel * _DECIBELS[front_end.kind]


def fit_frames(log_mel: Tensor, front_end: FrontEnd) -> Tensor:
    """Pad or cut at the end to front_end.n_frames.

    Args:
        log_mel: (..., frames, mels).
        front_end: the settings; they say what is padded with.

    Returns:
        (..., n_frames, mels).
    """
    missing = front_end.n_frames - log_mel.shape[-2]
    if missing <= 0:
        return log_mel[..., : front_end.n_frames, :]
    if front_end.kind == "epic_sounds":
        last = log_mel[..., -1:, :]
        return torch.cat([log_mel, last.expand(*last.shape[:-2], missing, -1)], dim=-2)
    value = front_end.pad_log_mel if front_end.kind == "kaldi" else SILENCE_DB
    return F.pad(log_mel, (0, 0, 0, missing), value=value)


def normalize(log_mel: Tensor, front_end: FrontEnd) -> Tensor:
    """Subtract the data set's mean and divide by twice its standard deviation.

    Args:
        log_mel: (..., frames, mels).
        front_end: the settings; with mean None the values stay as they are.

    Returns:
        (..., frames, mels).
    """
    if front_end.mean is None or front_end.std is None:
        return log_mel
    return (log_mel - front_end.mean) / (2 * front_end.std)


def _without_mean(batch: Tensor) -> Tensor:
    return batch - batch.mean(dim=-1, keepdim=True)


def _log_mel(batch: Tensor, front_end: FrontEnd) -> Tensor:
    """(batch, samples) -> (batch, frames, mels), in float32 or float64."""
    compute = {"kaldi": kaldi_fbank, "decibel": decibel_mel, "epic_sounds": epic_sounds_mel}
    with torch.autocast(batch.device.type, enabled=False):
        return compute[front_end.kind](batch, front_end)
