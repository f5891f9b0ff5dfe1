"""Small convolution networks over maps whose clips may have columns of their own.

Source: this project; nothing more than 3x3 convolutions, batch norms and shortcuts.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.ops import map_in_chunks
from audiomamba.ops.padding import mask_padding, valid_mask

__all__ = ["ConvNorm", "ConvStack", "Residual", "conv_output_length", "masked_batch_norm"]


class ConvNorm(nn.Sequential):
    """A 3x3 convolution, a batch norm and a ReLU."""

    reach = 1

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        conv = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        super().__init__(conv, nn.BatchNorm2d(n_out), nn.ReLU())
        self.stride = stride

    def forward(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Convolve a map.

        Args:
            x: (batch, channels, rows, columns).
            columns: (batch,) columns of each clip; None for all.

        Returns:
            (batch, channels, rows, columns), smaller by the stride.
        """
        layers: tuple[nn.Conv2d, nn.BatchNorm2d, nn.ReLU] = tuple(self)  # type: ignore[assignment]
        conv, norm, activation = layers
        x = conv(mask_padding(x, columns, dim=3))
        out: Tensor = activation(
            masked_batch_norm(norm, x, conv_output_length(conv, columns), dim=3)
        )
        return out


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    reach = 2
    stride = 1

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, stride=1)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Add the branch to its input; as of ConvNorm."""
        branch = self.conv(mask_padding(self.first(x, columns), columns, dim=3))
        return F.relu(x + masked_batch_norm(self.norm, branch, columns, dim=3))


class ConvStack(nn.Sequential):
    """Layers of convolution that each tell their stride, and how many columns beside one they see.

    A long map is convolved chunk by chunk where no gradient is needed.
    """

    def __iter__(self) -> Iterator[ConvNorm | Residual]:
        return iter(self._modules.values())  # type: ignore[arg-type]

    def forward(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Run the layers in turn; as of ConvNorm."""
        if self.training:  # batch norm takes its statistics from the whole map
            return self._run(x, columns)
        stride, reach = 1, 0
        for layer in self:
            reach += layer.reach * stride
            stride *= layer.stride
        return map_in_chunks(self._run, x, columns, reach=reach, stride=stride)

    def _run(self, x: Tensor, columns: Tensor | None) -> Tensor:
        for layer in self:
            x = layer(x, columns)
            columns = None if columns is None else -(-columns // layer.stride)
        return x


def masked_batch_norm(
    norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor, lengths: Tensor | None, *, dim: int
) -> Tensor:
    """Normalize by the statistics of a batch, in training over the clips' own steps only.

    Args:
        norm: the batch norm.
        x: (batch, channels, ...).
        lengths: (batch,) each clip's length along the axis; None for all.
        dim: the axis, at least 2.

    Returns:
        The same shape; in training 0 after each clip's end.
    """
    if lengths is None or not norm.training:
        out: Tensor = norm(x)
        return out
    own = valid_mask(x.shape[dim], lengths)
    steps = x.movedim(dim, 1)  # (batch, steps, channels, ...)
    normed = norm(steps[own].movedim(0, -1).unsqueeze(0))[0].movedim(-1, 0)
    spread = torch.zeros_like(steps)
    spread[own] = normed.to(spread.dtype)
    return spread.movedim(1, dim)


def conv_output_length(conv: nn.Conv2d, columns: Tensor | None) -> Tensor | None:
    """The columns (batch,) of each clip after a convolution without dilation; None for all."""
    if columns is None:
        return None
    padding = int(conv.padding[-1])
    return (columns + 2 * padding - conv.kernel_size[-1]) // conv.stride[-1] + 1
