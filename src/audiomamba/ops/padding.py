"""Sequences of different lengths in one batch: masks of what is padding, and means without it."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from audiomamba.errors import ConfigError

__all__ = [
    "checked_lengths",
    "fill_by_length",
    "mask_padding",
    "masked_max",
    "masked_mean",
    "padding_mask",
    "take_tokens",
    "valid_mask",
]


def checked_lengths(lengths: Tensor, frames: Tensor, shortest: int = 1) -> tuple[Tensor, int]:
    """Check the lengths of clips against their frames.

    Args:
        lengths: (batch,) frames of each clip, integers.
        frames: (batch, frames, ...).
        shortest: the fewest frames that a clip may have.

    Returns:
        The lengths in int64 on the device of the frames, and the largest of them.

    Raises:
        ConfigError: not one length per clip, or one out of range.

    Examples:
        >>> checked_lengths(torch.tensor([2, 3]), torch.zeros(2, 5, 128))
        (tensor([2, 3]), 3)
    """
    batch, n_frames = frames.shape[:2]
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
    return lengths.to(frames.device, torch.int64), most


def valid_mask(n: int, lengths: Tensor) -> Tensor:
    """Mark what is before each sequence's end: lengths (batch,) to bool (batch, n).

    Examples:
        >>> valid_mask(3, torch.tensor([1, 3])).int().tolist()
        [[1, 0, 0], [1, 1, 1]]
    """
    return torch.arange(n, device=lengths.device) < lengths[:, None]


def padding_mask(n: int, lengths: Tensor | None) -> Tensor | None:
    """Mark what is after each sequence's end: lengths (batch,) to bool (batch, n); None stays."""
    return None if lengths is None else ~valid_mask(n, lengths)


def mask_padding(x: Tensor, lengths: Tensor | None, *, dim: int) -> Tensor:
    """Set x (batch, ...) to 0 after each sequence's end, which lengths (batch,) give along an axis.

    Examples:
        >>> mask_padding(torch.ones(2, 3), torch.tensor([1, 3]), dim=1).tolist()
        [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    padding = padding_mask(x.shape[dim], lengths)
    if padding is None:
        return x
    shape = [1] * x.ndim
    shape[0], shape[dim] = padding.shape
    return x.masked_fill(padding.view(shape), 0)


def masked_mean(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Average over each sequence's own steps: (batch, steps, channels) to (batch, channels).

    Examples:
        >>> masked_mean(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([2])).tolist()
        [[2.0]]
    """
    if lengths is None:
        return x.mean(dim=1)
    wide = torch.promote_types(x.dtype, torch.float32)
    return (mask_padding(x, lengths, dim=1).sum(dim=1, dtype=wide) / lengths[:, None]).to(x.dtype)


def masked_max(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The largest of each sequence's own steps: (batch, steps, channels) to (batch, channels).

    Examples:
        >>> masked_max(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([2])).tolist()
        [[3.0]]
    """
    padding = padding_mask(x.shape[1], lengths)
    own = x if padding is None else x.masked_fill(padding[..., None], -torch.inf)
    return own.amax(dim=1)


def fill_by_length(lengths: Tensor, fill: Callable[[int], Tensor]) -> Tensor:
    """Make what depends on a sequence's length, once for each length.

    Args:
        lengths: (batch,) integers.
        fill: from a length to (1, ...), the last axis longer the longer the sequence.

    Returns:
        (batch, ...), the last axis padded with 0.

    Examples:
        >>> fill_by_length(torch.tensor([3, 1]), lambda n: torch.ones(1, n)).tolist()
        [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
    """
    sizes, which = lengths.unique(return_inverse=True)
    tables = [fill(size) for size in sizes.tolist()]
    longest = tables[-1].shape[-1]
    return torch.cat([pad(one, (0, longest - one.shape[-1])) for one in tables])[which]


def take_tokens(tokens: Tensor, indices: Tensor) -> Tensor:
    """Take other tokens of each sequence.

    Args:
        tokens: (batch, tokens, dim).
        indices: (batch, n), or (1, n) for the same ones of each.

    Returns:
        (batch, n, dim).

    Examples:
        >>> take_tokens(torch.tensor([[[5.0], [6.0]]]), torch.tensor([[1, 0]])).tolist()
        [[[6.0], [5.0]]]
    """
    return tokens.gather(1, indices[..., None].expand(tokens.shape[0], -1, tokens.shape[2]))
