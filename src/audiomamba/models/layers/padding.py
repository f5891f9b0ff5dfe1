"""Clips of different lengths in one batch: what lies behind a clip's own end plays no part.

A map is cut to the longest clip and blanked behind each clip's end before whatever mixes columns,
so that a clip finds there what it finds alone: zeros, the padding of a convolution.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError

__all__ = [
    "blanked",
    "columns_behind",
    "fitted",
    "for_each_length",
    "inside",
    "mean_inside",
    "normed_inside",
    "refuse_lengths",
]


def fitted(
    features: Tensor, lengths: Tensor | None, *, shortest: int = 1
) -> tuple[Tensor, Tensor | None]:
    """Check lengths, cut features to the longest clip and blank them behind each clip's end.

    Args:
        features: (batch, frames, mels).
        lengths: (batch,) frames of each clip, integers; None for all frames of all clips.
        shortest: the fewest frames that the model reads.

    Returns:
        The features, (batch, longest, mels), and the lengths in int64 on their device.

    Raises:
        ConfigError: there is not one length per clip, or one is out of range.
    """
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
    return blanked(features[:, :most], lengths, dim=1), lengths


def refuse_lengths(lengths: Tensor | None, reason: str) -> None:
    """Refuse lengths where a model cannot take them.

    Args:
        lengths: what was given.
        reason: why not.

    Raises:
        ConfigError: lengths were given.
    """
    if lengths is not None:
        raise ConfigError(f"lengths were given, but {reason}; give clips of one length")


def inside(n: int, lengths: Tensor) -> Tensor:
    """Mark the places before each clip's end.

    Args:
        n: places.
        lengths: (batch,) places of each clip.

    Returns:
        (batch, n) bool.
    """
    return torch.arange(n, device=lengths.device) < lengths[:, None]


def blanked(x: Tensor, lengths: Tensor | None, *, dim: int) -> Tensor:
    """Put 0 behind each clip's end.

    Args:
        x: (batch, ...).
        lengths: (batch,) places of each clip along the axis; None to leave x as it is.
        dim: the axis, at least 1.

    Returns:
        The same shape.
    """
    if lengths is None:
        return x
    behind = ~inside(x.shape[dim], lengths)
    shape = [1] * x.ndim
    shape[0], shape[dim] = behind.shape
    return x.masked_fill(behind.view(shape), 0)


def mean_inside(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Average each clip's own places.

    Args:
        x: (batch, places, channels).
        lengths: (batch,) places of each clip; None for all.

    Returns:
        (batch, channels).
    """
    if lengths is None:
        return x.mean(dim=1)
    wide = torch.promote_types(x.dtype, torch.float32)
    return (blanked(x, lengths, dim=1).sum(dim=1, dtype=wide) / lengths[:, None]).to(x.dtype)


def normed_inside(
    norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor, lengths: Tensor | None, *, dim: int
) -> Tensor:
    """Normalize by the statistics of a batch, in training of the clips' own places only.

    Args:
        norm: the batch norm.
        x: (batch, channels, ...).
        lengths: (batch,) places of each clip along the axis; None for all.
        dim: the axis, at least 2.

    Returns:
        The same shape; in training 0 behind each clip's end.
    """
    if lengths is None or not norm.training:
        out: Tensor = norm(x)
        return out
    own = inside(x.shape[dim], lengths)
    places = x.movedim(dim, 1)  # (batch, places, channels, ...)
    normed = norm(places[own].movedim(0, -1).unsqueeze(0))[0].movedim(-1, 0)
    spread = torch.zeros_like(places)
    spread[own] = normed.to(spread.dtype)
    return spread.movedim(1, dim)


def columns_behind(conv: nn.Conv2d, columns: Tensor | None) -> Tensor | None:
    """Count the columns that a convolution leaves of each clip.

    Args:
        conv: without dilation, with padding in numbers.
        columns: (batch,) columns of each clip; None for all.

    Returns:
        (batch,); None for all.
    """
    if columns is None:
        return None
    padding = int(conv.padding[-1])
    return (columns + 2 * padding - conv.kernel_size[-1]) // conv.stride[-1] + 1


def for_each_length(features: Tensor, lengths: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """Run what reads clips of one length only, once for each length.

    Args:
        features: (batch, frames, mels).
        lengths: (batch,) frames of each clip.
        run: from (clips, frames, mels) to (clips, ...).

    Returns:
        (batch, ...), padded with 0 along the first axis behind the batch where results differ.
    """
    order, parts = [], []
    for length in lengths.unique().tolist():
        of_length = (lengths == length).nonzero().flatten()
        order.append(of_length)
        parts.append(run(features[of_length, :length]))
    longest = max(part.shape[1] for part in parts)
    parts = [F.pad(part, [0] * (2 * part.ndim - 3) + [longest - part.shape[1]]) for part in parts]
    return torch.cat(parts)[torch.cat(order).argsort()]
