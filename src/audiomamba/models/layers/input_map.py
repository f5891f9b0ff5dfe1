"""The input of a model, checked: features of clips of different lengths, as they are or as a map.

Features are cut to the longest clip and set to 0 after each clip's end. So is a map before each
layer that mixes columns: a clip then finds there what it finds alone, the zeros of a padding.
"""

from torch import Tensor

from audiomamba.errors import ConfigError
from audiomamba.models.base import ModelConfig
from audiomamba.ops.padding import checked_lengths, mask_padding

__all__ = ["as_map", "fit_features"]


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
    lengths, longest = checked_lengths(lengths, features, shortest)
    return mask_padding(features[:, :longest], lengths, dim=1), lengths


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
