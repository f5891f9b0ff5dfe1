"""The box head: what is in a proposed box, and how the box should be moved.

Source: Girshick, "Fast R-CNN" (2015); with convolutions before the linear layer as in Li et al.,
"Benchmarking Detection Transfer Learning with Vision Transformers" (2021).
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from audiomamba.vision.heads.layers import ChannelNorm, conv_norm

__all__ = ["BOX_SIZE", "BoxHead"]

BOX_SIZE = 7  # rows and columns that are read of each box
HIDDEN_RATIO = 4  # channels of the linear layers per channel of the pyramid


class BoxHead(nn.Module):
    """Score and move boxes.

    Args:
        dim: channels of the pyramid.
        n_classes: classes of objects.
        layers: two linear layers, or four convolutions and one linear layer.
        per_class: move the box for each class in its own way.

    Examples:
        >>> head = BoxHead(8, n_classes=3, layers="linear", per_class=True)
        >>> [tuple(x.shape) for x in head(torch.zeros(5, 8, 7, 7))]
        [(5, 4), (5, 3, 4)]
    """

    def __init__(
        self, dim: int, *, n_classes: int, layers: Literal["linear", "convs"], per_class: bool
    ) -> None:
        super().__init__()
        hidden = HIDDEN_RATIO * dim
        n_convs = 4 if layers == "convs" else 0
        self.convs = nn.Sequential(*(conv_norm(dim, dim, 3, ChannelNorm) for _ in range(n_convs)))
        sizes = [dim * BOX_SIZE**2, *([hidden] if n_convs else [hidden, hidden])]
        self.linear = nn.Sequential(
            *(
                layer
                for n_in, n_out in pairwise(sizes)
                for layer in (nn.Linear(n_in, n_out), nn.ReLU())
            )
        )
        self.classify = nn.Linear(hidden, n_classes + 1)
        self.deltas = nn.Linear(hidden, 4 * (n_classes if per_class else 1))
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.normal_(self.deltas.weight, std=0.001)
        for layer in (self.classify, self.deltas):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Score and move boxes that are cut out.

        Args:
            x: (boxes, dim, 7, 7).

        Returns:
            Logits (boxes, classes + 1), the last for background; and deltas (boxes, classes or 1,
            4).
        """
        x = self.linear(self.convs(x).flatten(1))
        return self.classify(x), self.deltas(x).unflatten(1, (-1, 4))


def of_class(deltas: Tensor, classes: Tensor) -> Tensor:
    """The deltas (n, 4) of each box for its class, of (n, classes or 1, 4)."""
    if deltas.shape[1] == 1:
        return deltas[:, 0]
    return deltas[torch.arange(len(classes), device=deltas.device), classes]
