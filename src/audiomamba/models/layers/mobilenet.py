"""The layers of MobileNetV3 (large): a strided stem and fifteen inverted residual blocks.

Source: Howard et al., "Searching for MobileNetV3" (2019), table 1.
"""

from collections.abc import Iterator
from typing import NamedTuple

from audiomamba.models.layers.inverted_residual import (
    Activation,
    ConvNormActivation,
    InvertedResidual,
    round_channels,
)

__all__ = ["BLOCKS", "STEM_CHANNELS", "STEM_STRIDE", "Block", "mobilenet_blocks", "mobilenet_stem"]


class Block(NamedTuple):
    """One inverted residual block; channels are those of width 1."""

    kernel: int
    n_wide: int
    n_out: int
    activation: Activation
    squeeze: bool = False
    strided: bool = False  # takes the next of the config's strides


BLOCKS: tuple[Block, ...] = (
    Block(3, 16, 16, "relu"),
    Block(3, 64, 24, "relu", strided=True),
    Block(3, 72, 24, "relu"),
    Block(5, 72, 40, "relu", squeeze=True, strided=True),
    Block(5, 120, 40, "relu", squeeze=True),
    Block(5, 120, 40, "relu", squeeze=True),
    Block(3, 240, 80, "hard-swish", strided=True),
    Block(3, 200, 80, "hard-swish"),
    Block(3, 184, 80, "hard-swish"),
    Block(3, 184, 80, "hard-swish"),
    Block(3, 480, 112, "hard-swish", squeeze=True),
    Block(3, 672, 112, "hard-swish", squeeze=True),
    Block(5, 672, 160, "hard-swish", squeeze=True, strided=True),
    Block(5, 960, 160, "hard-swish", squeeze=True),
    Block(5, 960, 160, "hard-swish", squeeze=True),
)
STEM_CHANNELS, STEM_STRIDE = 16, 2  # channels at width 1


def mobilenet_stem(width: float) -> ConvNormActivation:
    """Make the layer in front of the blocks, which halves the map each way.

    Args:
        width: channels, as a multiple of MobileNetV3's.

    Returns:
        The layer, for maps of one channel.
    """
    return ConvNormActivation(1, round_channels(width * STEM_CHANNELS), 3, stride=STEM_STRIDE)


def mobilenet_blocks(
    width: float, strides: tuple[int, ...], n_blocks: int = len(BLOCKS)
) -> Iterator[InvertedResidual]:
    """Make the first blocks after the stem.

    Args:
        width: channels of every layer, as a multiple of MobileNetV3's.
        strides: those of the blocks that may shrink the map, each 1 or 2.
        n_blocks: how many blocks.

    Yields:
        The blocks, in their order.
    """
    left = iter(strides)
    n_in = round_channels(width * STEM_CHANNELS)
    for block in BLOCKS[:n_blocks]:
        n_out = round_channels(width * block.n_out)
        yield InvertedResidual(
            n_in,
            round_channels(width * block.n_wide),
            n_out,
            kernel=block.kernel,
            stride=next(left) if block.strided else 1,
            squeeze=block.squeeze,
            activation=block.activation,
        )
        n_in = n_out
