"""Patches of a spectrogram or an image: their tokens, their grid, weights fitted to another grid.

Source: Dosovitskiy et al., "An Image Is Worth 16x16 Words" (2021), section 3.1.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError

__all__ = [
    "PatchEmbed",
    "cut_or_stretch_positions",
    "new_table",
    "patch_grid",
    "resize_patch_kernel",
    "resize_positions",
]


class PatchEmbed(nn.Module):
    """Cut a spectrogram or an image into patches and project each to a token.

    Args:
        patch: (mel bands, frames), or (height, width).
        dim: channels of a token.
        n_channels: channels of the input.
    """

    def __init__(self, patch: tuple[int, int], dim: int, n_channels: int = 1) -> None:
        super().__init__()
        self.proj = nn.Conv2d(n_channels, dim, patch)
        # A normal that is cut at two standard deviations has 0.8796 of its standard deviation left.
        std = (n_channels * patch[0] * patch[1]) ** -0.5 / 0.87962566
        nn.init.trunc_normal_(self.proj.weight, std=std, a=-2 * std, b=2 * std)
        if self.proj.bias is not None:
            nn.init.zeros_(self.proj.bias)

    def forward(self, image: Tensor, patch: tuple[int, int], stride: tuple[int, int]) -> Tensor:
        """Project patches.

        Args:
            image: (batch, channels, mels, frames), or (batch, channels, height, width).
            patch: (mel bands, frames) to cut now; the kernel is resized if it was made for another.
            stride: (mel bands, frames).

        Returns:
            (batch, dim, rows, columns), rows of frequency, columns of time.
        """
        kernel = resize_patch_kernel(self.proj.weight, patch)
        return F.conv2d(image, kernel, self.proj.bias, stride)


def patch_grid(
    size: tuple[int, int], patch: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int]:
    """Rows and columns of patches that fit into (mels, frames).

    Args:
        size: (mel bands, frames) of the spectrogram.
        patch: (mel bands, frames) of a patch.
        stride: (mel bands, frames) between patches.

    Returns:
        (rows, columns).

    Raises:
        ConfigError: not even one patch fits.
    """
    if size[0] < patch[0] or size[1] < patch[1]:
        raise ConfigError(
            f"a spectrogram of {size[0]} mel bands and {size[1]} frames is smaller than "
            f"one patch of {patch[0]} by {patch[1]}"
        )
    return (size[0] - patch[0]) // stride[0] + 1, (size[1] - patch[1]) // stride[1] + 1


def new_table(n_rows: int, dim: int) -> nn.Parameter:
    """A learned table (1, rows, dim) of class tokens or positions."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, n_rows, dim), std=0.02))


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
