"""What is done to the spectrograms of training clips; drawn per clip, applied to whole batches.

All functions work on normalized features (batch, frames, mels), on any device.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from audiomamba import audio
from audiomamba.audio import FrontEnd
from audiomamba.data.augment import Augment, draw_masks, draw_warp

__all__ = [
    "FeatureChanges",
    "SecondClip",
    "blend",
    "change_features",
    "draw_changes",
    "hide",
    "roll_time",
    "warp_time",
]


class FeatureChanges(NamedTuple):
    """What is done to one spectrogram, or with a leading batch dimension to a batch of them.

    Args:
        mel_masks: (masks, 2) int64, ranges of mel bins to hide.
        frame_masks: (masks, 2) int64, ranges of frames to hide.
        warp: (2,) int64, a frame and where it goes.
        noise: (frames, mels) float32 to add, or (0, 0).
        roll: int64, frames to roll by, later if positive.
    """

    mel_masks: Tensor
    frame_masks: Tensor
    warp: Tensor
    noise: Tensor
    roll: Tensor


class SecondClip(NamedTuple):
    """The clip whose spectrogram is mixed in, or with a leading batch dimension a batch of them.

    Args:
        waveform: (samples,) float32, or (0,) if features are never mixed.
        n_samples: int64, samples of sound in it; the rest is padding.
        share: float32, weight of the first clip outside the box.
        box: (4,) int64, first and past-the-last frame and mel bin that are the second's alone.
    """

    waveform: Tensor
    n_samples: Tensor
    share: Tensor
    box: Tensor


def draw_changes(
    augment: Augment, shape: tuple[int, int], rng: np.random.Generator
) -> FeatureChanges:
    """Draw what is done to one spectrogram.

    Args:
        augment: the settings.
        shape: frames and mels of the spectrogram.
        rng: the clip's random numbers.

    Returns:
        The changes.
    """
    masks = draw_masks(augment, shape, rng)
    warp, noise, roll = np.zeros(2, dtype=np.int64), np.zeros((0, 0), dtype=np.float32), 0
    if augment.time_warp_frames:
        warp = draw_warp(augment, shape[0], rng)
    if augment.noise:
        noise = rng.random(shape, dtype=np.float32) * np.float32(rng.uniform(0, augment.noise))
    if augment.roll_frames:
        roll = int(rng.integers(-augment.roll_frames, augment.roll_frames))
    return FeatureChanges(
        torch.from_numpy(masks.mels),
        torch.from_numpy(masks.frames),
        torch.from_numpy(warp),
        torch.from_numpy(noise),
        torch.tensor(roll),
    )


def change_features(
    features: Tensor, changes: FeatureChanges, augment: Augment, front_end: FrontEnd
) -> Tensor:
    """Warp, hide, add noise and roll, in this order, which is that of AST and AuM.

    Args:
        features: (batch, frames, mels), normalized.
        changes: what was drawn for each.
        augment: the settings they were drawn with.
        front_end: the settings of the features.

    Returns:
        (batch, frames, mels).
    """
    if augment.time_warp_frames:
        features = warp_time(features, changes.warp)
    value: Tensor | float = 0.0
    if augment.mask_value == "clip-mean":
        value = features.mean(dim=(1, 2), keepdim=True)
    elif augment.mask_value == "zero":
        value = audio.normalize(torch.zeros(()), front_end).item()
    features = hide(features, changes.mel_masks, changes.frame_masks, value)
    if augment.noise:
        features = features + changes.noise
    return roll_time(features, changes.roll) if augment.roll_frames else features


def blend(features: Tensor, others: Tensor, second: SecondClip) -> Tensor:
    """Mix in second spectrograms: by their weight everywhere, and alone within a rectangle.

    Args:
        features: (batch, frames, mels).
        others: (batch, frames, mels), those of the second clips.
        second: the weights and rectangles.

    Returns:
        (batch, frames, mels).
    """
    _, frames, mels = features.shape
    share = second.share[:, None, None]
    mixed = share * features + (1 - share) * others
    inside = (
        _within(second.box[:, None, :2], frames)[:, :, None]
        & _within(second.box[:, None, 2:], mels)[:, None, :]
    )
    return torch.where(inside, others, mixed)


def hide(
    features: Tensor, mel_masks: Tensor, frame_masks: Tensor, value: Tensor | float = 0.0
) -> Tensor:
    """Set ranges of features to a value.

    Args:
        features: (batch, frames, mels).
        mel_masks: (batch, masks, 2) first and past-the-last mel bins.
        frame_masks: (batch, masks, 2) first and past-the-last frames.
        value: the value, or one (batch, 1, 1) for each; 0 is the data set's mean.

    Returns:
        (batch, frames, mels).

    Source: SpecAugment (Park et al. 2019), section 2.
    """
    _, frames, mels = features.shape
    hidden = _within(frame_masks, frames)[:, :, None] | _within(mel_masks, mels)[:, None, :]
    return torch.where(hidden, value, features)


def warp_time(features: Tensor, warp: Tensor) -> Tensor:
    """Move a frame, and stretch what is before and squeeze what is after it, or the reverse.

    Args:
        features: (batch, frames, mels).
        warp: (batch, 2) int64, the frame and where it goes.

    Returns:
        (batch, frames, mels), interpolated between neighbouring frames.

    Source: SpecAugment (Park et al. 2019), section 2.
    """
    last = features.shape[1] - 1
    start, goal = warp[:, :1], warp[:, 1:]
    time = torch.arange(last + 1, device=features.device)[None]
    before = time * start / goal.clamp(min=1)
    after = start + (time - goal) * (last - start) / (last - goal).clamp(min=1)
    source = torch.where(time < goal, before, after)
    left = source.floor().clamp(0, max(last - 1, 0)).long()
    weight = (source - left)[:, :, None].to(features.dtype)
    return torch.lerp(_frames_at(features, left), _frames_at(features, left + 1), weight)


def roll_time(features: Tensor, roll: Tensor) -> Tensor:
    """Roll each spectrogram along time.

    Args:
        features: (batch, frames, mels).
        roll: (batch,) int64 frames, later if positive.

    Returns:
        (batch, frames, mels).
    """
    frames = features.shape[1]
    time = torch.arange(frames, device=features.device)[None]
    return _frames_at(features, (time - roll[:, None]) % frames)


def _frames_at(features: Tensor, indices: Tensor) -> Tensor:
    """The frames at indices (batch, frames), the last one for indices after it."""
    indices = indices.clamp(max=features.shape[1] - 1)
    return features.gather(1, indices[:, :, None].expand(-1, -1, features.shape[2]))


def _within(ranges: Tensor, length: int) -> Tensor:
    """(batch, length) of whether an index is in any of the ranges (batch, masks, 2)."""
    index = torch.arange(length, device=ranges.device)
    inside = (index >= ranges[..., :1]) & (index < ranges[..., 1:])
    return inside.any(dim=1)
