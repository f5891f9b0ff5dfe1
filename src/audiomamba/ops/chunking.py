"""Long inputs are read chunk by chunk where nothing of them has to be kept.

What lies between the layers then never exists for the whole input, so memory does not grow with
its length.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["map_in_chunks", "nothing_is_kept"]

CHUNK_COLUMNS = 4096  # of 128 mel bands, 13 MB per channel of a map in float32 before it shrinks


def nothing_is_kept() -> bool:
    """Tell whether nothing keeps what is computed on the way: no gradient and no compiler.

    Returns:
        Whether computing an input chunk by chunk saves memory.
    """
    return not (torch.is_grad_enabled() or torch.compiler.is_compiling())


def map_in_chunks(
    layers: Callable[[Tensor, Tensor | None], Tensor],
    x: Tensor,
    columns: Tensor | None,
    *,
    reach: int,
    stride: int,
) -> Tensor:
    """Run layers of convolution on a map: on a long one chunk by chunk of its columns.

    Args:
        layers: from a map and the columns of each clip to a map.
        x: (batch, channels, rows, columns).
        columns: (batch,) columns of each clip; None for all.
        reach: columns of x beside one that a result depends on.
        stride: columns of x per column of the result; a divisor of CHUNK_COLUMNS.

    Returns:
        What the layers give, (batch, channels, rows, columns / stride, rounded up).

    Examples:
        >>> smooth = torch.nn.AvgPool2d(3, stride=1, padding=1)
        >>> x = torch.randn(1, 1, 4, 20_000)
        >>> with torch.no_grad():
        ...     found = map_in_chunks(lambda x, _: smooth(x), x, None, reach=1, stride=1)
        >>> torch.allclose(found, smooth(x))
        True
    """
    n_columns = x.shape[3]
    if not nothing_is_kept() or n_columns <= 2 * CHUNK_COLUMNS:
        return layers(x, columns)
    reach += -reach % stride  # a chunk begins where a column of the result does
    chunks = []
    for start in range(0, n_columns, CHUNK_COLUMNS):
        end = min(start + CHUNK_COLUMNS, n_columns)
        first, last = max(0, start - reach), min(end + reach, n_columns)
        own = None if columns is None else (columns - first).clamp(0, last - first)
        chunk = layers(x[..., first:last], own)
        chunks.append(chunk[..., (start - first) // stride : -(-(end - first) // stride)])
    return torch.cat(chunks, dim=3)
