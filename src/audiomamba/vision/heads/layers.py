"""The convolutions that the heads are made of."""

from collections.abc import Callable

from torch import Tensor, nn

__all__ = ["ChannelNorm", "conv_norm"]


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel of a map (batch, channels, rows, columns)."""

    def __init__(self, n_channels: int) -> None:
        super().__init__(n_channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Norm a map; shape as of the input."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def conv_norm(
    n_in: int,
    n_out: int,
    kernel: int,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    *,
    activation: bool = True,
) -> nn.Sequential:
    """A convolution that keeps the size, a norm in place of its bias, and ReLU."""
    conv = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, norm(n_out), *([nn.ReLU()] if activation else []))
