"""A head of two layers, as MobileNetV3 has it after the mean of its last map.

Source: Howard et al., "Searching for MobileNetV3" (2019), section 5.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.models.layers.inverted_residual import draw_normal
from audiomamba.ops import Linear

__all__ = ["MLPHead"]

DROPOUT = 0.2


class MLPHead(nn.Module):
    """Two layers on one vector per clip or step.

    Args:
        dim: channels of the vector.
        n_hidden: channels of the layer in between.
        n_classes: outputs.
    """

    def __init__(self, dim: int, n_hidden: int, n_classes: int) -> None:
        super().__init__()
        self.hidden = Linear(dim, n_hidden)
        self.output = Linear(n_hidden, n_classes)
        _init_linear(self.hidden)
        _init_linear(self.output)

    def forward(self, pooled: Tensor) -> Tensor:
        """Score means; (..., dim) to logits (..., classes)."""
        hidden = F.dropout(F.hardswish(self.hidden(pooled)), DROPOUT, self.training)
        out: Tensor = self.output(hidden)
        return out

    def reset(self, n_classes: int) -> None:
        """Take a fresh last layer for other classes."""
        old = self.output.weight
        self.output = Linear(old.shape[1], n_classes).to(old.device, old.dtype)
        _init_linear(self.output)


def _init_linear(layer: nn.Linear) -> None:
    draw_normal(layer.weight, 0.01)
    nn.init.zeros_(layer.bias)
