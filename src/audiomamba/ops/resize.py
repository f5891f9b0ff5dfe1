"""Weights of a grid of patches, resized for another grid or for patches of another size."""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["resize_patch_kernel", "resize_positions"]

Size = tuple[int, int]  # rows and columns


def resize_positions(table: Tensor, grid: Size, new_grid: Size, n_prefix: int) -> Tensor:
    """Resize learned positions to another grid of patches: bilinear, with antialiasing.

    Args:
        table: (1, n_prefix + rows * columns, dim); the rows of class tokens, first, stay.
        grid: (rows, columns) that the table was made for.
        new_grid: (rows, columns) wanted.
        n_prefix: rows at the start that belong to no patch.

    Returns:
        (1, n_prefix + new rows * new columns, dim), in the table's dtype.

    Source: Erol et al. 2024, released code.

    Examples:
        >>> resize_positions(torch.zeros(1, 1 + 6, 8), (2, 3), (4, 5), n_prefix=1).shape
        torch.Size([1, 21, 8])
    """
    if grid == new_grid:
        return table
    prefix, patches = table[:, :n_prefix], table[:, n_prefix:]
    image = patches.transpose(1, 2).unflatten(2, grid)
    image = F.interpolate(image.float(), new_grid, mode="bilinear", antialias=True)
    resized: Tensor = torch.cat([prefix, image.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)
    return resized


def resize_patch_kernel(kernel: Tensor, patch: Size) -> Tensor:
    """Resize a kernel so that resized patches keep their tokens.

    Args:
        kernel: (dim, channels, rows, columns).
        patch: (rows, columns) wanted.

    Returns:
        (dim, channels, new rows, new columns).

    Source: Beyer et al., "FlexiViT" (2023), equation 3: the pseudo-inverse of a bilinear resize.

    Examples:
        >>> resize_patch_kernel(torch.zeros(8, 1, 16, 16), (8, 8)).shape
        torch.Size([8, 1, 8, 8])
    """
    size = (kernel.shape[2], kernel.shape[3])
    if size == patch:
        return kernel
    matrix = _inverse_resize(size, patch).to(kernel.device, kernel.dtype)
    resized: Tensor = (kernel.flatten(2) @ matrix.T).unflatten(2, patch)
    return resized


@cache
def _inverse_resize(size: Size, new_size: Size) -> Tensor:
    """The (new, old) matrix that maps a flattened kernel of one size to another."""
    n_old = size[0] * size[1]
    basis = torch.eye(n_old, dtype=torch.float64, device="cpu").reshape(n_old, 1, *size)
    resized = F.interpolate(basis, new_size, mode="bilinear").flatten(1)
    inverse: Tensor = torch.linalg.pinv(resized, rtol=1e-6)
    return inverse
