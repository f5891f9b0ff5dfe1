"""Fitting weights that were made for one grid of patches to another."""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["cut_or_stretch_positions", "resize_patch_kernel", "resize_positions"]


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


def cut_or_stretch_positions(
    table: Tensor, grid: tuple[int, int], new_grid: tuple[int, int], n_prefix: int
) -> Tensor:
    """Fit learned positions to another grid: cut its middle out where it is smaller, else stretch.

    Args:
        table: (1, n_prefix + rows * columns, dim), prefix rows (class tokens) first.
        grid: (rows, columns) that the table was made for.
        new_grid: (rows, columns) wanted.
        n_prefix: rows at the start that belong to no patch; they stay as they are.

    Returns:
        (1, n_prefix + new rows * new columns, dim); stretched bilinearly, without antialiasing, the
        columns before the rows.

    Source: Gong et al., "AST" (2021), section 2.2, and the authors' released code.
    """
    if grid == new_grid:
        return table
    prefix, patches = table[:, :n_prefix], table[:, n_prefix:]
    image = patches.transpose(1, 2).unflatten(2, grid).float()
    for axis, size, new_size in ((3, grid[1], new_grid[1]), (2, grid[0], new_grid[0])):
        if new_size <= size:
            image = image.narrow(axis, size // 2 - new_size // 2, new_size)
        else:
            stretched = (image.shape[2], new_size) if axis == 3 else (new_size, image.shape[3])
            image = F.interpolate(image, stretched, mode="bilinear")
    return torch.cat([prefix, image.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


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
