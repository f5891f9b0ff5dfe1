"""Patches of a spectrogram or an image, their grid, and weights that are fitted to another grid."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError

__all__ = [
    "PatchEmbed",
    "Size",
    "new_table",
    "patch_grid",
    "resize_patch_kernel",
    "resize_positions",
]

Size = tuple[int, int]  # rows and columns: mel bands and frames, or height and width


class PatchEmbed(nn.Module):
    """Cut a map into patches and project each to a token.

    Args:
        patch: (rows, columns) of a patch.
        dim: channels of a token.
        n_channels: channels of the map.
    """

    def __init__(self, patch: Size, dim: int, n_channels: int = 1) -> None:
        super().__init__()
        self.proj = nn.Conv2d(n_channels, dim, patch)
        # A normal that is cut at two standard deviations has 0.8796 of its standard deviation left.
        std = (n_channels * patch[0] * patch[1]) ** -0.5 / 0.87962566
        nn.init.trunc_normal_(self.proj.weight, std=std, a=-2 * std, b=2 * std)
        if self.proj.bias is not None:
            nn.init.zeros_(self.proj.bias)

    def forward(self, image: Tensor, patch: Size, stride: Size) -> Tensor:
        """Project patches of any size: the kernel is resized if it was made for another.

        Args:
            image: (batch, channels, rows, columns).
            patch: (rows, columns) of a patch.
            stride: (rows, columns) from one patch to the next.

        Returns:
            (batch, dim, rows of patches, columns of patches).
        """
        kernel = resize_patch_kernel(self.proj.weight, patch)
        return F.conv2d(image, kernel, self.proj.bias, stride)


def patch_grid(size: Size, patch: Size, stride: Size) -> Size:
    """Rows and columns of patches that fit into a map of a size; ConfigError if not one does."""
    if size[0] < patch[0] or size[1] < patch[1]:
        raise ConfigError(
            f"a spectrogram of {size[0]} mel bands and {size[1]} frames is smaller than "
            f"one patch of {patch[0]} by {patch[1]}"
        )
    return (size[0] - patch[0]) // stride[0] + 1, (size[1] - patch[1]) // stride[1] + 1


def new_table(n_rows: int, dim: int) -> nn.Parameter:
    """A learned table (1, rows, dim) of class tokens or positions."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, n_rows, dim), std=0.02))


def resize_positions(table: Tensor, grid: Size, new_grid: Size, n_prefix: int) -> Tensor:
    """Resize learned positions to another grid of patches: bilinear, with antialiasing.

    Args:
        table: (1, n_prefix + rows * columns, dim); the rows of class tokens, first, stay.
        grid: (rows, columns) that the table was made for.
        new_grid: (rows, columns) wanted.
        n_prefix: rows at the start that belong to no patch.

    Source: Erol et al. 2024, released code.
    """
    if grid == new_grid:
        return table
    prefix, patches = table[:, :n_prefix], table[:, n_prefix:]
    image = patches.transpose(1, 2).unflatten(2, grid)
    image = F.interpolate(image.float(), new_grid, mode="bilinear", antialias=True)
    resized: Tensor = torch.cat([prefix, image.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)
    return resized


def resize_patch_kernel(kernel: Tensor, patch: Size) -> Tensor:
    """Resize a kernel (dim, channels, rows, columns) so that resized patches keep their tokens.

    Source: Beyer et al., "FlexiViT" (2023), equation 3: the pseudo-inverse of a bilinear resize.
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
