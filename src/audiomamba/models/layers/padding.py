"""Clips of different lengths in one batch: what stands after a clip's own end plays no part.

Features are cut to the longest clip and set to 0 after each clip's end. So is a map before each
layer that mixes columns: a clip then finds there what it finds alone, the zeros of a padding.
"""

import torch
from torch import Tensor

from audiomamba.errors import ConfigError
from audiomamba.models.base import ModelConfig

__all__ = ["as_map", "fit_features", "mask_padding", "masked_mean", "valid_mask"]


def fit_features(
    features: Tensor, lengths: Tensor | None, n_mels: int, *, shortest: int = 1
) -> tuple[Tensor, Tensor | None]:
    """Check features and lengths, cut to the longest clip and mask the padding.

    Args:
        features: (batch, frames, mels).
        lengths: (batch,) frames of each clip, integers; None for all frames of all clips.
        n_mels: mel bands that the model reads.
        shortest: the fewest frames that the model reads of a clip.

    Returns:
        The features, (batch, longest, mels), and the lengths in int64 on their device.

    Raises:
        ConfigError: another number of mel bands, not one length per clip, or one out of range.
    """
    if features.ndim != 3 or features.shape[2] != n_mels:
        raise ConfigError(
            f"features have shape {tuple(features.shape)}; expected (batch, frames, {n_mels})"
        )
    if lengths is None:
        return features, None
    batch, n_frames = features.shape[:2]
    if tuple(lengths.shape) != (batch,) or lengths.is_floating_point():
        raise ConfigError(
            f"lengths are {lengths.dtype} of shape {tuple(lengths.shape)}; "
            f"expected integers ({batch},), the frames of each clip"
        )
    least, most = (int(length) for length in lengths.aminmax())
    if least < shortest or most > n_frames:
        raise ConfigError(
            f"lengths go from {least} to {most}; expected {shortest} to {n_frames} frames"
        )
    lengths = lengths.to(features.device, torch.int64)
    return mask_padding(features[:, :most], lengths, dim=1), lengths


def as_map(
    features: Tensor, lengths: Tensor | None, config: ModelConfig, *, shortest: int = 1
) -> tuple[Tensor, Tensor | None]:
    """Lay out a model's input as a map, frequency along rows and time along columns.

    As fit_features, but images (batch, 3, height, width) stay as they are if the config says that
    the model reads those. The map is (batch, channels, mels or height, frames or width).
    """
    if config.reads_sound:
        features, lengths = fit_features(features, lengths, config.n_mels, shortest=shortest)
        return features.transpose(1, 2).unsqueeze(1), lengths
    if lengths is not None:
        raise ConfigError("lengths were given, but images have none; give clips of one length")
    if features.ndim != 4 or features.shape[1] != 3:
        raise ConfigError(
            f"images have shape {tuple(features.shape)}; expected (batch, 3, height, width)"
        )
    return features, None


def valid_mask(n: int, lengths: Tensor) -> Tensor:
    """Mark what is before each clip's end: lengths (batch,) to bool (batch, n)."""
    return torch.arange(n, device=lengths.device) < lengths[:, None]


def mask_padding(x: Tensor, lengths: Tensor | None, *, dim: int) -> Tensor:
    """Set x (batch, ...) to 0 after each clip's end, which lengths (batch,) give along an axis."""
    if lengths is None:
        return x
    padding = ~valid_mask(x.shape[dim], lengths)
    shape = [1] * x.ndim
    shape[0], shape[dim] = padding.shape
    return x.masked_fill(padding.view(shape), 0)


def masked_mean(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Average over each clip's own steps: (batch, steps, channels) to (batch, channels)."""
    if lengths is None:
        return x.mean(dim=1)
    wide = torch.promote_types(x.dtype, torch.float32)
    return (mask_padding(x, lengths, dim=1).sum(dim=1, dtype=wide) / lengths[:, None]).to(x.dtype)
