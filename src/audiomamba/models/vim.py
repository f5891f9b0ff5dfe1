"""Vim, Vision Mamba: bidirectional Mamba blocks on image patches.

The image is cut into patches, each becomes a token, a class token is put into the sequence (in the
middle in the released models), learned positions are added, and a stack of Mamba blocks reads the
tokens row by row. The normed class token, or the pooled tokens, feed a linear head. With one
channel in place of three it reads spectrograms.

What differs from AuM, which was made from it: the positions are kept in the order of the sequence,
with the class token's row where that token stands; positions may be rotary as well; and the blocks
may take turns in reading forward and backward.

Source: Zhu, Liao, Zhang, Wang, Liu, Wang, "Vision Mamba: Efficient Visual Representation Learning
with Bidirectional State Space Model" (2024).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba.config import check
from audiomamba.errors import ConfigError
from audiomamba.models.layers.patch_sequence import PatchSequenceConfig, PatchSequenceModel
from audiomamba.models.layers.sequence import Layout
from audiomamba.models.layers.vision import VisionConfig
from audiomamba.ops.add_norm import Norm

__all__ = ["MODELS", "RotaryPositions", "Vim", "VimConfig"]

ROTARY_BASE = 10_000.0


@dataclass(frozen=True, kw_only=True)
class RotaryPositions:
    """Positions that turn pairs of channels before every block, the more the further on.

    The first half of the channels turns with the row, the second with the column.

    Args:
        side: positions run from 0 to this along each side, however many patches there are: the
            side of the grid that the weights were first trained on.
        absolute: add learned absolute positions too, once, before the first block.
        residual: turn the residual stream too, not only the last block's output.

    Raises:
        ConfigError: a field has a value that its type does not allow.

    Examples:
        >>> VimConfig(positions=RotaryPositions(absolute=False)).has_absolute_positions
        False
    """

    side: int = 14
    absolute: bool = True
    residual: bool = False

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class VimConfig(PatchSequenceConfig, VisionConfig):
    """Settings of Vim, beside those of PatchSequenceConfig; the defaults are Vim-Ti on ImageNet.

    Args:
        direction: the rows of the paper's Table 4: "fo-fo" reads forward only, in "alternating"
            every second block reads backward only, "fo-bi" scans both ways after one convolution,
            "bi-bi" has a convolution for each way.
        positions: learned absolute positions, none, or rotary ones, for which dim is a multiple of
            4.
        norm: kind of norm before and after the blocks.

    Raises:
        ConfigError: positions are rotary and dim is no multiple of 4.

    Examples:
        >>> VimConfig(n_channels=1, n_mels=128, n_frames=1024, n_classes=527).grid
        (8, 64)
    """

    family: ClassVar[str] = "vim"

    n_classes: int = 1000
    n_mels: int = 224
    n_frames: int = 224
    n_channels: Literal[1, 3] = 3
    dim: int = 192
    direction: Literal["fo-fo", "alternating", "fo-bi", "bi-bi"] = "bi-bi"
    positions: Literal["absolute", "none"] | RotaryPositions = "absolute"
    norm: Norm = "rms"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.positions, RotaryPositions) and self.dim % 4:
            raise ConfigError(f"dim is {self.dim}; rotary positions expect a multiple of 4")

    @property
    def has_absolute_positions(self) -> bool:
        """Whether there is a table of learned positions."""
        if isinstance(self.positions, RotaryPositions):
            return self.positions.absolute
        return self.positions == "absolute"

    @property
    def weights_from(self) -> str:
        """Whose released weights fit."""
        return "Vision Mamba"

    def build(self) -> "Vim":
        """Make the model, with fresh weights."""
        return Vim(self)


class Vim(PatchSequenceModel):
    """Vision Mamba.

    Args:
        config: its settings.

    Examples:
        >>> import torch
        >>> model = VimConfig(dim=32, depth=2, n_mels=64, n_frames=64, n_classes=10).build()
        >>> model(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 10])
    """

    config: VimConfig

    def __init__(self, config: VimConfig) -> None:
        has_positions = config.has_absolute_positions
        super().__init__(config, "frequency", positions=has_positions, norm=config.norm)

    def position_table(self, learned: Tensor) -> Tensor:
        """The learned positions (1, tokens, dim), those of class tokens before the patches'."""
        layout = Layout(self.config.grid, "frequency", self.config.class_token, None)
        patches = layout.split(learned).flatten(1, 2)
        return torch.cat([layout.class_tokens(learned), patches], dim=1)

    def run_blocks(self, hidden: Tensor, layout: Layout) -> tuple[Tensor, Tensor | None]:
        """Run the blocks on (batch, tokens, dim): the last one's output, and the residual."""
        positions = self.config.positions
        if not isinstance(positions, RotaryPositions):
            return super().run_blocks(hidden, layout)
        turns = self._turns(layout, positions.side, hidden.device)
        residual, n_tokens = None, layout.lengths
        for layer in self.layers:
            hidden = turn_pairs(hidden, turns)
            if residual is not None and positions.residual:
                residual = turn_pairs(residual, turns)
            hidden, residual = layer(hidden, residual, n_tokens)
        return hidden, residual

    def _turns(self, layout: Layout, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the rotary angles, (1 or batch, tokens, dim / 2) each.

        Class tokens stay. With one in the middle, as in the released code, the table runs over all
        tokens but the first: it is made for a class token at the head.
        """
        config = self.config
        before = 0 if config.class_token in ("none", "end") else 1

        def fill(grid: tuple[int, int]) -> Tensor:
            angles = rotary_angles(grid, config.dim, side, device)
            return F.pad(angles.T, (before, config.n_class_tokens - before)).unsqueeze(0)

        angles = layout.table(fill).transpose(1, 2)
        return angles.cos(), angles.sin()


def rotary_angles(grid: tuple[int, int], dim: int, side: int, device: torch.device) -> Tensor:
    """The angle by which each pair of channels of each patch is turned.

    Args:
        grid: (rows, columns) of patches.
        dim: channels of a token.
        side: what a whole side of the grid counts as.
        device: of the result.

    Returns:
        (rows * columns, dim / 2), the first half for the row, the second for the column.

    Source: Su et al., "RoFormer" (2021), section 3.2.2, along two axes as in EVA-02.
    """
    exponents = torch.arange(0, dim // 2, 2, device=device, dtype=torch.float32) / (dim // 2)
    frequencies = ROTARY_BASE**-exponents
    rows, columns = (
        torch.arange(n, device=device, dtype=torch.float32)[:, None] / n * side * frequencies
        for n in grid
    )
    by_row = rows[:, None].expand(-1, grid[1], -1)
    by_column = columns[None].expand(grid[0], -1, -1)
    return torch.cat([by_row, by_column], dim=2).flatten(0, 1)


def turn_pairs(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Turn neighbouring pairs of channels.

    Args:
        x: (batch, tokens, dim).
        turns: cosine and sine of the angles, (1 or batch, tokens, dim / 2) each.

    Returns:
        (batch, tokens, dim), in x's dtype.
    """
    even, odd = x.unflatten(2, (-1, 2)).unbind(3)
    cos, sin = turns
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=3)
    return turned.flatten(2).to(x.dtype)


MODELS = {
    "vim_base": VimConfig(dim=768),
    "vim_small": VimConfig(dim=384),
    "vim_tiny": VimConfig(dim=192),
}
