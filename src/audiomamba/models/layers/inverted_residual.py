"""The inverted residual block of MobileNetV3, and the convolution with norm that it is made of.

A block widens its map with a 1x1 convolution, mixes neighbors with a depthwise one, weighs channels
by what the whole clip holds (squeeze-and-excitation, if wanted) and narrows the map again.

Source: Howard et al., "Searching for MobileNetV3" (2019), section 5; Hu et al.,
"Squeeze-and-Excitation Networks" (2018).
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.models.layers.conv import masked_batch_norm
from audiomamba.ops import Linear
from audiomamba.ops.padding import mask_padding, masked_mean

__all__ = [
    "Activation",
    "ConvNormActivation",
    "InvertedResidual",
    "SqueezeExcitation",
    "draw_normal",
    "fan_out_std",
    "round_channels",
]

Activation = Literal["hard-swish", "relu", "none"]
NORM_EPS, NORM_MOMENTUM = 1e-3, 0.01
SQUEEZE_RATIO = 4
MULTIPLE = 8  # of channels, as kernels like them


def draw_normal(weight: Tensor, std: float) -> None:
    """Fill a weight with normal numbers.

    On the meta device, where models are made to be loaded, nothing is drawn: PyTorch would import
    its compiler for it, which takes a second.

    Args:
        weight: any shape.
        std: their standard deviation.
    """
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)


def fan_out_std(conv: nn.Conv2d) -> float:
    """The standard deviation of He et al. (2015) for a convolution, by its outputs.

    Args:
        conv: the convolution.

    Returns:
        The square root of 2 / (output channels x window), whatever the groups.
    """
    return math.sqrt(2 / (conv.out_channels * math.prod(conv.kernel_size)))


def round_channels(n: float) -> int:
    """Round a number of channels to a multiple of 8 that is at most a tenth below it.

    Args:
        n: channels, above 0.

    Returns:
        At least 8.

    Examples:
        >>> round_channels(0.4 * 960), round_channels(0.1 * 112)
        (384, 16)
    """
    rounded = max(MULTIPLE, int(n + MULTIPLE / 2) // MULTIPLE * MULTIPLE)
    return rounded + MULTIPLE if rounded < 0.9 * n else rounded


class ConvNormActivation(nn.Module):
    """A convolution without bias, a batch norm and an activation.

    In evaluation mode the norm is folded into the convolution.

    Args:
        n_in: channels of the input.
        n_out: channels of the output.
        kernel: side of the window; odd.
        stride: rows and columns of the input per row and column of the output.
        groups: 1, or n_in for a depthwise convolution.
        activation: what follows the norm.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: Activation = "hard-swish",
    ) -> None:
        super().__init__()
        self.stride, self.reach, self.activation = stride, kernel // 2, activation
        self.conv = nn.Conv2d(
            n_in, n_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(n_out, eps=NORM_EPS, momentum=NORM_MOMENTUM)
        draw_normal(self.conv.weight, fan_out_std(self.conv))

    def forward(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Convolve a map.

        Args:
            x: (batch, channels, rows, columns).
            columns: (batch,) columns of each clip; None for all.

        Returns:
            (batch, channels, rows, columns), smaller by the stride, rounded up.
        """
        if self.reach:
            x = mask_padding(x, columns, dim=3)
        if self.training:
            left = None if columns is None else -(-columns // self.stride)
            x = masked_batch_norm(self.norm, self.conv(x), left, dim=3)
        else:
            x = self._folded(x)
        in_place = not torch.is_grad_enabled()
        match self.activation:
            case "hard-swish":
                return F.hardswish(x, inplace=in_place)
            case "relu":
                return F.relu(x, inplace=in_place)
        return x

    def _folded(self, x: Tensor) -> Tensor:
        """The convolution and the norm by its running statistics, in one."""
        conv, norm = self.conv, self.norm
        mean, variance = norm.running_mean, norm.running_var
        if mean is None or variance is None:
            raise TypeError("the batch norm keeps no running statistics")
        # Few operations: on one clip they take as long as the convolutions of a small map.
        scale = (variance + norm.eps).rsqrt() * norm.weight
        weight = conv.weight * scale.view(-1, 1, 1, 1)
        bias = torch.addcmul(norm.bias, mean, scale, value=-1)
        return F.conv2d(x, weight, bias, conv.stride, self.reach, groups=conv.groups)


class SqueezeExcitation(nn.Module):
    """Weigh the channels of a map by two layers on their means.

    Args:
        n_channels: channels of the map.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        n_squeezed = round_channels(n_channels // SQUEEZE_RATIO)
        self.fc1 = Linear(n_channels, n_squeezed)
        self.fc2 = Linear(n_squeezed, n_channels)
        for layer in (self.fc1, self.fc2):
            draw_normal(layer.weight, 0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Weigh a map.

        Args:
            x: (batch, channels, rows, columns).
            columns: (batch,) columns of each clip; None for all.

        Returns:
            The same shape.
        """
        if columns is None:
            squeezed = x.mean(dim=(2, 3))
        else:
            squeezed = masked_mean(x.mean(dim=2).transpose(1, 2), columns)
        weights: Tensor = self.fc2(F.relu(self.fc1(squeezed))).sigmoid()
        return x * weights[:, :, None, None]


class InvertedResidual(nn.Module):
    """Widen, convolve by channel, weigh, narrow; with a shortcut where the map keeps its shape.

    With squeeze-excitation every output depends on the whole clip, however short the `reach` of the
    convolution is.

    Args:
        n_in: channels of the input.
        n_wide: channels in between; if n_in, nothing is widened.
        n_out: channels of the output.
        kernel: side of the depthwise convolution's window; odd.
        stride: 1, or 2 to halve the map each way.
        squeeze: whether to have squeeze-and-excitation.
        activation: what follows the first two convolutions.
    """

    def __init__(
        self,
        n_in: int,
        n_wide: int,
        n_out: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        squeeze: bool = False,
        activation: Activation = "hard-swish",
    ) -> None:
        super().__init__()
        self.stride, self.reach = stride, kernel // 2
        self.has_shortcut = stride == 1 and n_in == n_out
        self.expand = (
            ConvNormActivation(n_in, n_wide, 1, activation=activation) if n_wide != n_in else None
        )
        self.depthwise = ConvNormActivation(
            n_wide, n_wide, kernel, stride=stride, groups=n_wide, activation=activation
        )
        self.squeeze = SqueezeExcitation(n_wide) if squeeze else None
        self.project = ConvNormActivation(n_wide, n_out, 1, activation="none")

    def forward(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Run the block; as of ConvNormActivation."""
        branch = x if self.expand is None else self.expand(x, columns)
        branch = self.depthwise(branch, columns)
        left = None if columns is None else -(-columns // self.stride)
        if self.squeeze is not None:
            branch = self.squeeze(branch, left)
        branch = self.project(branch, left)
        out: Tensor = x + branch if self.has_shortcut else branch
        return out
