"""Pyramids of plain models: maps that are all of one size are made larger and smaller.

Source: Li, Mao, Girshick, He, "Exploring Plain Vision Transformer Backbones for Object Detection"
(2022), section 3, for detection; Bao et al., "BEiT" (2021), released code, for segmentation.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.vision.heads.layers import ChannelNorm, conv_norm

__all__ = ["PlainPyramid", "SimpleFeaturePyramid"]


class PlainPyramid(nn.Module):
    """Four maps of four blocks, four and two times as large, as they are, and half as large.

    Args:
        dim: channels of the maps.

    Examples:
        >>> import torch
        >>> [x.shape[2] for x in PlainPyramid(8)([torch.zeros(2, 8, 4, 4)] * 4)]
        [16, 8, 4, 2]
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.larger = nn.Sequential(
            nn.ConvTranspose2d(dim, dim, 2, 2),
            nn.BatchNorm2d(dim),
            nn.GELU(),
            nn.ConvTranspose2d(dim, dim, 2, 2),
        )
        self.large = nn.ConvTranspose2d(dim, dim, 2, 2)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Resize four maps (batch, dim, rows, columns), those of early blocks the most."""
        first, second, third, fourth = maps
        return [self.larger(first), self.large(second), third, F.max_pool2d(fourth, 2)]


class SimpleFeaturePyramid(nn.Module):
    """Five levels from the last map alone: 4, 2, 1, 1/2 and 1/4 times as large.

    Args:
        dim: channels of the map.
        out_dim: channels of the levels.

    Examples:
        >>> import torch
        >>> levels = SimpleFeaturePyramid(8, 16)([torch.zeros(1, 8, 8, 8)])
        >>> [tuple(x.shape[1:3]) for x in levels]
        [(16, 32), (16, 16), (16, 8), (16, 4), (16, 2)]
    """

    def __init__(self, dim: int, out_dim: int = 256) -> None:
        super().__init__()
        quarter = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 2, 2, 2),
            ChannelNorm(dim // 2),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 2, dim // 4, 2, 2),
        )
        self.resize = nn.ModuleList(
            [quarter, nn.ConvTranspose2d(dim, dim // 2, 2, 2), nn.Identity(), nn.MaxPool2d(2)]
        )
        self.project = nn.ModuleList(
            nn.Sequential(
                conv_norm(n_in, out_dim, 1, ChannelNorm, activation=False),
                conv_norm(out_dim, out_dim, 3, ChannelNorm, activation=False),
            )
            for n_in in (dim // 4, dim // 2, dim, dim)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Make the levels of the last of the maps (batch, dim, rows, columns)."""
        levels = [
            project(resize(maps[-1]))
            for resize, project in zip(self.resize, self.project, strict=True)
        ]
        return [*levels, F.max_pool2d(levels[-1], 1, stride=2)]
