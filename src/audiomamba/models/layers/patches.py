"""Patches of a spectrogram or an image, and their grid."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError
from audiomamba.ops.resize import resize_patch_kernel

__all__ = [
    "PatchEmbed",
    "Size",
    "new_table",
    "patch_grid",
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
        nn.init.zeros_(self.proj.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, image: Tensor, patch: Size, stride: Size) -> Tensor:
        """Project a map (batch, channels, rows, columns): (batch, dim, patch rows, patch columns).

        The kernel is resized if it was made for patches of another size.
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
