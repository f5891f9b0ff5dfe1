"""Fitting weights that were made for one grid of patches to another."""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["resize_patch_kernel", "resize_positions"]


def resize_positions(
    table: Tensor, grid: tuple[int, int], new_grid: tuple[int, int], n_prefix: int
) -> Tensor:
    """Resize learned positions to another grid of patches.

    Args:
        table: (1, n_prefix + rows * columns, dim), prefix rows (class tokens) first.
        grid: (rows, columns) that the table was made for.
        new_grid: (rows, columns) wanted.
        n_prefix: rows at the start that belong to no patch; they stay as they are.

    Returns:
        (1, n_prefix + new rows * new columns, dim); bilinear with antialiasing.

    Source: Erol et al. 2024, released code.
    """
    if grid == new_grid:
        return table
    prefix, patches = table[:, :n_prefix], table[:, n_prefix:]
    image = patches.transpose(1, 2).unflatten(2, grid)
    image = F.interpolate(image.float(), new_grid, mode="bilinear", antialias=True)
    resized: Tensor = torch.cat([prefix, image.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)
    return resized


def resize_patch_kernel(kernel: Tensor, patch: tuple[int, int]) -> Tensor:
    """Resize a patch projection so that resized patches give about the same tokens.

    Args:
        kernel: (dim, channels, height, width).
        patch: (height, width) wanted.

    Returns:
        (dim, channels, new height, new width): the pseudo-inverse of a bilinear resize applied to
        the kernel.

    Source: Beyer et al., "FlexiViT" (2023), equation 3 (PI-resize).
    """
    height, width = kernel.shape[2:]
    if (height, width) == patch:
        return kernel
    matrix = _inverse_resize((height, width), patch).to(kernel.device, kernel.dtype)
    resized: Tensor = (kernel.flatten(2) @ matrix.T).unflatten(2, patch)
    return resized


@cache
def _inverse_resize(size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """The (new, old) matrix that maps a flattened kernel of one size to another."""
    n_old = size[0] * size[1]
    basis = torch.eye(n_old, dtype=torch.float64, device="cpu").reshape(n_old, 1, *size)
    resized = F.interpolate(basis, new_size, mode="bilinear").flatten(1)
    inverse: Tensor = torch.linalg.pinv(resized, rtol=1e-6)
    return inverse
