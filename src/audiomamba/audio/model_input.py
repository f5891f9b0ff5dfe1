"""From waveforms to a model's input, whatever the kind of its front end."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba.audio.fbank import as_batch, kaldi_fbank
from audiomamba.audio.front_end import FrontEnd, Kind
from audiomamba.audio.log_mel import (
    LOG_SILENCE,
    SILENCE_DB,
    decibel_mel,
    efficientat_mel,
    epic_sounds_mel,
)
from audiomamba.errors import ConfigError

__all__ = ["features", "fit_frames", "log_mel_spectrogram", "normalize", "to_decibels"]

# Decibels per unit of the log-mel values.
_DECIBELS: dict[Kind, float] = {
    "kaldi": 10 / math.log(10),
    "decibel": 1.0,
    "epic_sounds": 20 / math.log(10),
    "efficientat": 10 / math.log(10),
}
# What kinds that pad with silence give for it.
_SILENCE: dict[Kind, float] = {"decibel": SILENCE_DB, "efficientat": LOG_SILENCE}


def features(waveforms: Tensor, front_end: FrontEnd, lengths: Tensor | None = None) -> Tensor:
    """Turn waveforms into a model's input: log-mel values, fitted to its length and normalized.

    Args:
        waveforms: (batch, samples) or (samples,) at front_end.sample_rate, floating point.
        front_end: the settings, as saved in the model.
        lengths: (batch,) samples of each clip, integers: what is after them is ignored, and the
            clip's own frames are front_end.frames_in(length). None for all samples of all clips.

    Returns:
        (batch, n_frames, mels) or (n_frames, mels), float32 or float64.

    Raises:
        ConfigError: the waveforms have another shape or are not floating point, or the lengths do
            not fit.
        AudioError: the waveforms have no samples.

    Source: the data loaders of AST and AuM; those of HTS-AT for kind "decibel", of EfficientAT
    for its own.

    Examples:
        >>> from audiomamba.audio import FrontEnd
        >>> features(torch.zeros(2, 16_000), FrontEnd(n_frames=128)).shape  # two clips of a second
        torch.Size([2, 128, 128])
    """
    batch = as_batch(waveforms)
    if lengths is not None:
        batch = batch.masked_fill(_padding(batch, lengths), 0)
    n_samples = front_end.n_samples
    match front_end.kind:
        case "kaldi":
            batch = _without_mean(batch, lengths)[:, :n_samples]
        case "decibel" | "efficientat":
            batch = F.pad(batch, (0, max(0, n_samples - batch.shape[1])))[:, :n_samples]
        case "epic_sounds":
            batch = batch[:, : n_samples + front_end.window_samples]
    log_mel = fit_frames(_log_mel(batch, front_end), front_end)
    if lengths is not None:
        log_mel = _end_of_each(log_mel, front_end, lengths)
    result = normalize(log_mel, front_end)
    return result if waveforms.ndim == 2 else result[0]


def log_mel_spectrogram(waveforms: Tensor, front_end: FrontEnd) -> Tensor:
    """Compute the log-mel values that a model's input is made of, for sound of any length.

    Args:
        waveforms: (batch, samples) or (samples,) at front_end.sample_rate, floating point.
        front_end: the settings; its n_frames, mean and std are not used here.

    Returns:
        (batch, frames, mels) or (frames, mels), float32 or float64, in the unit of the front end's
        kind.

    Raises:
        ConfigError: the waveforms have another shape or are not floating point.
        AudioError: the waveforms have no samples.

    Examples:
        >>> from audiomamba.audio import FrontEnd
        >>> log_mel_spectrogram(torch.zeros(16_000), FrontEnd(n_mels=64)).shape
        torch.Size([98, 64])
    """
    batch = as_batch(waveforms)
    if front_end.kind == "kaldi":
        batch = _without_mean(batch, None)
    log_mel = _log_mel(batch, front_end)
    return log_mel if waveforms.ndim == 2 else log_mel[0]


def to_decibels(log_mel: Tensor, front_end: FrontEnd) -> Tensor:
    """Convert log-mel values, before normalization, to decibels.

    Args:
        log_mel: of any shape.
        front_end: the settings that it was made with.

    Returns:
        The same shape, in decibels.

    Examples:
        >>> from audiomamba.audio import FrontEnd
        >>> to_decibels(torch.tensor([0.0, 1.0]), FrontEnd())  # natural logarithms of power
        tensor([0.0000, 4.3429])
    """
    return log_mel * _DECIBELS[front_end.kind]


def fit_frames(log_mel: Tensor, front_end: FrontEnd) -> Tensor:
    """Pad or cut at the end to front_end.n_frames.

    Args:
        log_mel: (..., frames, mels).
        front_end: the settings; they say what is padded with.

    Returns:
        (..., n_frames, mels).

    Examples:
        >>> from audiomamba.audio import FrontEnd
        >>> fit_frames(torch.ones(2, 1), FrontEnd(n_frames=3, n_mels=1)).flatten()
        tensor([1., 1., 0.])
    """
    missing = front_end.n_frames - log_mel.shape[-2]
    if missing <= 0:
        return log_mel[..., : front_end.n_frames, :]
    if front_end.kind == "epic_sounds":
        last = log_mel[..., -1:, :]
        return torch.cat([log_mel, last.expand(*last.shape[:-2], missing, -1)], dim=-2)
    value = _SILENCE.get(front_end.kind, front_end.pad_log_mel)
    return F.pad(log_mel, (0, 0, 0, missing), value=value)


def normalize(log_mel: Tensor, front_end: FrontEnd) -> Tensor:
    """Subtract the data set's mean and divide by twice its standard deviation.

    Args:
        log_mel: (..., frames, mels).
        front_end: the settings; with mean None the values stay as they are.

    Returns:
        (..., frames, mels).

    Examples:
        >>> from audiomamba.audio import FrontEnd
        >>> normalize(torch.tensor([1.0, 3.0]), FrontEnd(mean=1.0, std=0.5))
        tensor([0., 2.])
    """
    if front_end.mean is None or front_end.std is None:
        return log_mel
    return (log_mel - front_end.mean).div_(2 * front_end.std)


def _without_mean(batch: Tensor, lengths: Tensor | None) -> Tensor:
    """Subtract each clip's mean; the padding after a clip stays 0."""
    if lengths is None:
        return batch - batch.mean(dim=-1, keepdim=True)
    mean = batch.sum(dim=-1, keepdim=True) / lengths[:, None].to(batch.device)
    return (batch - mean).masked_fill(_padding(batch, lengths), 0)


def _padding(batch: Tensor, lengths: Tensor) -> Tensor:
    """Mask of what is after each clip's end, (batch, samples) bool."""
    n_clips, n_samples = batch.shape
    if tuple(lengths.shape) != (n_clips,) or lengths.is_floating_point():
        raise ConfigError(
            f"lengths are {lengths.dtype} of shape {tuple(lengths.shape)}; "
            f"expected integers ({n_clips},), the samples of each clip"
        )
    least, most = (int(length) for length in lengths.aminmax())
    if least < 1 or most > n_samples:
        raise ConfigError(f"lengths go from {least} to {most}; expected 1 to {n_samples} samples")
    return torch.arange(n_samples, device=batch.device) >= lengths[:, None].to(batch.device)


def _end_of_each(log_mel: Tensor, front_end: FrontEnd, lengths: Tensor) -> Tensor:
    """Pad each clip after its own frames with what a clip alone is padded with."""
    if front_end.kind in _SILENCE:  # its frames there were computed from silence
        return log_mel
    own = [front_end.frames_in(length) for length in lengths.tolist()]
    n_own = torch.tensor(own, device=log_mel.device)[:, None]
    index = torch.arange(log_mel.shape[1], device=log_mel.device)
    if front_end.kind == "kaldi":
        return log_mel.masked_fill((index >= n_own)[..., None], front_end.pad_log_mel)
    nearest = torch.minimum(index, n_own - 1)
    return log_mel.gather(1, nearest[..., None].expand(-1, -1, log_mel.shape[2]))


def _log_mel(batch: Tensor, front_end: FrontEnd) -> Tensor:
    """(batch, samples) -> (batch, frames, mels), in float32 or float64."""
    compute = {
        "kaldi": kaldi_fbank,
        "decibel": decibel_mel,
        "epic_sounds": epic_sounds_mel,
        "efficientat": efficientat_mel,
    }
    with torch.autocast(batch.device.type, enabled=False):
        return compute[front_end.kind](batch, front_end)
