"""UPerNet's head: pool the coarsest map at several sizes, then go down the pyramid to the finest.

Source: Xiao, Liu, Zhou, Jiang, Sun, "Unified Perceptual Parsing for Scene Understanding" (2018),
section 3; with the settings of mmsegmentation, which the papers on Vim and MambaOut use.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.vision.heads.layers import conv_norm

__all__ = ["FCNHead", "UPerHead"]

POOLED_SIZES = (1, 2, 3, 6)
DROPOUT = 0.1


class UPerHead(nn.Module):
    """From maps of falling size to class scores at the size of the first.

    Args:
        dims: channels of the maps, the finest first.
        dim: channels inside.
        n_classes: classes of a pixel.

    Examples:
        >>> head = UPerHead((8, 16), 32, n_classes=5).eval()
        >>> head([torch.zeros(1, 8, 12, 12), torch.zeros(1, 16, 6, 6)]).shape
        torch.Size([1, 5, 12, 12])
    """

    def __init__(self, dims: Sequence[int], dim: int, n_classes: int) -> None:
        super().__init__()
        self.pooled = nn.ModuleList(conv_norm(dims[-1], dim, 1) for _ in POOLED_SIZES)
        self.coarsest = conv_norm(dims[-1] + len(POOLED_SIZES) * dim, dim, 3)
        self.lateral = nn.ModuleList(conv_norm(one, dim, 1) for one in dims[:-1])
        self.smooth = nn.ModuleList(conv_norm(dim, dim, 3) for _ in dims[:-1])
        self.join = conv_norm(len(dims) * dim, dim, 3)
        self.dropout = nn.Dropout2d(DROPOUT)
        self.classify = new_classifier(dim, n_classes)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Score the pixels of the first map.

        Args:
            maps: (batch, channels, rows, columns) each.

        Returns:
            Logits (batch, classes, rows, columns).
        """
        joined = self.join(torch.cat(self._pyramid(maps), dim=1))
        logits: Tensor = self.classify(self.dropout(joined))
        return logits

    def _pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """One map per level, each with what the coarser ones know, all of the first one's size."""
        levels = [conv(one) for conv, one in zip(self.lateral, maps[:-1], strict=True)]
        levels.append(self._with_context(maps[-1]))
        for index in range(len(levels) - 1, 0, -1):
            finer = levels[index - 1]
            levels[index - 1] = finer + resize(levels[index], finer)
        smooth = [conv(one) for conv, one in zip(self.smooth, levels[:-1], strict=True)]
        return [resize(one, levels[0]) for one in [*smooth, levels[-1]]]

    def _with_context(self, coarsest: Tensor) -> Tensor:
        """The coarsest map, beside its means over 1, 4, 9 and 36 parts of it."""
        means = [
            resize(conv(F.adaptive_avg_pool2d(coarsest, size)), coarsest)
            for conv, size in zip(self.pooled, POOLED_SIZES, strict=True)
        ]
        out: Tensor = self.coarsest(torch.cat([coarsest, *means], dim=1))
        return out


class FCNHead(nn.Module):
    """Class scores from one map alone: a second, weaker head that helps the backbone to learn.

    Args:
        n_channels: channels of the map.
        dim: channels inside.
        n_classes: classes of a pixel.

    Source: Long, Shelhamer, Darrell, "Fully Convolutional Networks" (2015).

    Examples:
        >>> FCNHead(16, 8, n_classes=5).eval()(torch.zeros(1, 16, 6, 6)).shape
        torch.Size([1, 5, 6, 6])
    """

    def __init__(self, n_channels: int, dim: int, n_classes: int) -> None:
        super().__init__()
        self.conv = conv_norm(n_channels, dim, 3)
        self.dropout = nn.Dropout2d(DROPOUT)
        self.classify = new_classifier(dim, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Score the pixels of a map (batch, channels, rows, columns): as many logits per class."""
        logits: Tensor = self.classify(self.dropout(self.conv(x)))
        return logits


def new_classifier(dim: int, n_classes: int) -> nn.Conv2d:
    """A linear classifier of each pixel."""
    conv = nn.Conv2d(dim, n_classes, 1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # it has one
    return conv


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Resize a map to the rows and columns of another, bilinearly."""
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)
