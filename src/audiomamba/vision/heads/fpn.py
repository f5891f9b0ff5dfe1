"""The feature pyramid: maps of falling size and equal channels, each told what coarser ones know.

Source: Lin, Dollar, Girshick, He, Hariharan, Belongie, "Feature Pyramid Networks for Object
Detection" (2017).
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FPN"]


class FPN(nn.Module):
    """A feature pyramid of a hierarchical model's stages, and one more level, half the coarsest.

    Args:
        dims: channels of the stages, the finest first.
        dim: channels of every level.

    Examples:
        >>> import torch
        >>> pyramid = FPN((8, 16), 4)
        >>> [x.shape[2] for x in pyramid([torch.zeros(1, 8, 12, 12), torch.zeros(1, 16, 6, 6)])]
        [12, 6, 3]
    """

    def __init__(self, dims: Sequence[int], dim: int = 256) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(one, dim, 1) for one in dims)
        self.smooth = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in dims)
        for conv in [*self.lateral, *self.smooth]:
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(conv.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Make the levels.

        Args:
            maps: (batch, channels, rows, columns) each.

        Returns:
            One level more than maps, (batch, dim, rows, columns) each.
        """
        levels = [conv(one) for conv, one in zip(self.lateral, maps, strict=True)]
        for index in range(len(levels) - 1, 0, -1):
            finer = levels[index - 1]
            levels[index - 1] = finer + F.interpolate(levels[index], finer.shape[2:])
        levels = [conv(one) for conv, one in zip(self.smooth, levels, strict=True)]
        return [*levels, F.max_pool2d(levels[-1], 1, stride=2)]
