"""The weights of a mixer, as its plans are given them."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from audiomamba.ops.linear import is_as_made

__all__ = ["DirectionWeights", "MixerWeights", "Normed"]


class Normed(NamedTuple):
    """What an RMS norm was taken of.

    Args:
        total: (batch, tokens, dim), the input of the norm.
        weight: (dim,), of the norm.
        eps: of the norm.

    Examples:
        >>> Normed(torch.zeros(1, 4, 8), torch.ones(8), eps=1e-5).total.shape
        torch.Size([1, 4, 8])
    """

    total: Tensor
    weight: Tensor
    eps: float


class DirectionWeights(NamedTuple):
    """The weights of one direction, and whether its convolution and its scan run backward.

    Layers are modules, because a user may have hooked them, or replaced them by others that do what
    a linear layer does.

    Args:
        conv: the causal convolution, of which the weights alone are used.
        x_proj: from channels to rank + 2 states: the low-rank form of delta, B and C.
        dt_proj: from rank to channels: delta before its softplus.
        A_log: (channels, states), the logarithm of -A.
        D: (channels,), the skip.
        reverse_conv: the convolution looks ahead instead of back.
        reverse: the scan starts at the last token.

    Examples:
        >>> direction = DirectionWeights(
        ...     conv=nn.Conv1d(8, 8, 4, groups=8),
        ...     x_proj=nn.Linear(8, 1 + 2 * 4, bias=False),
        ...     dt_proj=nn.Linear(1, 8),
        ...     A_log=torch.zeros(8, 4),
        ...     D=torch.ones(8),
        ... )
        >>> direction.decay(slice(0, 1)).tolist()
        [[-1.0, -1.0, -1.0, -1.0]]
    """

    conv: nn.Conv1d
    x_proj: nn.Linear
    dt_proj: nn.Linear
    A_log: Tensor
    D: Tensor
    reverse_conv: bool = False
    reverse: bool = False

    def decay(self, channels: slice = slice(None)) -> Tensor:
        """A of some channels, (channels, states)."""
        return -torch.exp(self.A_log[channels])


class MixerWeights(NamedTuple):
    """The weights of a mixer.

    Args:
        in_proj: from dim to 2 channels: the input and the gate.
        out_proj: from channels to dim.
        directions: one or two.
        halve_sum: the sum of two directions is halved.

    Examples:
        >>> direction = DirectionWeights(
        ...     conv=nn.Conv1d(8, 8, 4, groups=8),
        ...     x_proj=nn.Linear(8, 1 + 2 * 4, bias=False),
        ...     dt_proj=nn.Linear(1, 8),
        ...     A_log=torch.zeros(8, 4),
        ...     D=torch.ones(8),
        ... )
        >>> MixerWeights(nn.Linear(6, 16), nn.Linear(8, 6), (direction,)).n_channels
        8
    """

    in_proj: nn.Linear
    out_proj: nn.Linear
    directions: tuple[DirectionWeights, ...]
    halve_sum: bool = False

    @property
    def n_channels(self) -> int:
        """Channels of the mixer, which are more than those of the model."""
        return self.directions[0].D.shape[0]

    @property
    def share_inputs(self) -> bool:
        """Whether all directions scan the same, so that one scan can do both."""
        first = self.directions[0]
        return all(one.conv is first.conv for one in self.directions)

    def layers_are_as_made(self) -> bool:
        """Whether the linear layers' weights may be used without calling the layers."""
        layers = [self.in_proj, self.out_proj]
        for direction in self.directions:
            layers += [direction.x_proj, direction.dt_proj]
        return all(is_as_made(layer) for layer in layers)
