"""Analysis frames of long sound: a stretch at a time."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["frame_by_frame"]

STRETCH_FRAMES = (
    4096  # with windows of 400 samples in float32, 7 MB for each step of the computation
)


def frame_by_frame(frames: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """Compute something of each frame, of long sound in stretches, so as to need little memory.

    Args:
        frames: (..., frames, samples), which may be a view in which frames overlap.
        compute: from (..., frames, samples) to (..., frames, values), each frame by itself.

    Returns:
        (..., frames, values).
    """
    if frames.shape[-2] <= STRETCH_FRAMES:
        return compute(frames)
    return torch.cat([compute(part) for part in frames.split(STRETCH_FRAMES, dim=-2)], dim=-2)
