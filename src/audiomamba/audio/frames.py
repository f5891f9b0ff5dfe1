"""Analysis frames of long sound, chunk by chunk."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["frame_by_frame"]

# With windows of 400 samples in float32, 7 MB for each step of the computation.
CHUNK_FRAMES = 4096


def frame_by_frame(frames: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """Compute something of each frame, chunk by chunk where there are many, to save memory.

    Args:
        frames: (..., frames, samples), which may be a view in which frames overlap.
        compute: from (..., frames, samples) to (..., frames, values), each frame by itself.

    Returns:
        (..., frames, values).
    """
    if frames.shape[-2] <= CHUNK_FRAMES:
        return compute(frames)
    return torch.cat([compute(chunk) for chunk in frames.split(CHUNK_FRAMES, dim=-2)], dim=-2)
