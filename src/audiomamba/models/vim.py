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

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.config import check
from audiomamba.errors import ConfigError
from audiomamba.models.base import (
    AudioModel,
    FrameSteps,
    VisionConfig,
    new_head,
)
from audiomamba.models.layers.mamba import MambaBlock, Norm, SSMConfig, add_and_norm, new_norm
from audiomamba.models.layers.padding import as_map
from audiomamba.models.layers.patches import PatchEmbed, new_table, patch_grid, resize_positions
from audiomamba.models.layers.sequence import ClassToken, Layout, class_token_index

__all__ = ["RotaryPositions", "Vim", "VimConfig"]

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
    """

    side: int = 14
    absolute: bool = True
    residual: bool = False

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class VimConfig(VisionConfig):
    """Settings of Vim; the defaults are Vim-Ti on ImageNet.

    Args:
        patch: (height, width) of a patch.
        stride: (height, width) between patches; None for the patch itself, no overlap.
        dim: channels of a token; a multiple of 4 if positions are rotary.
        depth: number of blocks.
        direction: the rows of the paper's Table 4: "fo-fo" reads forward only, in "alternating"
            every second block reads backward only, "fo-bi" scans both ways behind one convolution,
            "bi-bi" has a convolution for each way.
        class_token: its place in the sequence; "double" puts one at each end and averages them.
        pool: without a class token: "mean" of the tokens, "max" over tokens of the logits, the
            "last" token, or "all" tokens, each with logits of its own.
        positions: learned absolute positions, none, or rotary ones.
        norm: kind of norm before and behind the blocks.
        ssm: inner sizes of the mixers.
        drop_path: highest probability of dropping a block's branch in training; grows linearly with
            depth.

    Raises:
        ConfigError: positions are rotary and dim is no multiple of 4.
    """

    family: ClassVar[str] = "vim"
    one_pass: ClassVar[bool] = True

    n_classes: int = 1000
    n_mels: int = 224
    n_frames: int = 224
    n_channels: Literal[1, 3] = 3
    patch: tuple[int, int] = (16, 16)
    stride: tuple[int, int] | None = None
    dim: int = 192
    depth: int = 24
    direction: Literal["fo-fo", "alternating", "fo-bi", "bi-bi"] = "bi-bi"
    class_token: ClassToken = "middle"
    pool: Literal["mean", "max", "last", "all"] = "mean"
    positions: Literal["absolute", "none"] | RotaryPositions = "absolute"
    norm: Norm = "rms"
    ssm: SSMConfig = field(default_factory=SSMConfig)
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.positions, RotaryPositions) and self.dim % 4:
            raise ConfigError(f"dim is {self.dim}; rotary positions expect a multiple of 4")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches at the configured input size."""
        return patch_grid((self.n_mels, self.n_frames), self.patch, self.stride or self.patch)

    @property
    def n_class_tokens(self) -> int:
        """How many class tokens the sequence has."""
        return {"none": 0, "double": 2}.get(self.class_token, 1)

    @property
    def has_absolute_positions(self) -> bool:
        """Whether there is a table of learned positions."""
        if isinstance(self.positions, RotaryPositions):
            return self.positions.absolute
        return self.positions == "absolute"

    def build(self) -> "Vim":
        """Make the model, with fresh weights."""
        return Vim(self)


class Vim(AudioModel):
    """Vision Mamba.

    Args:
        config: its settings.
    """

    config: VimConfig

    def __init__(self, config: VimConfig) -> None:
        super().__init__(config)
        rows, columns = config.grid
        self.patch_embed = PatchEmbed(config.patch, config.dim, config.n_channels)
        if config.class_token == "double":
            self.cls_token_head = new_table(1, config.dim)
            self.cls_token_tail = new_table(1, config.dim)
        elif config.class_token != "none":
            self.cls_token = new_table(1, config.dim)
        if config.has_absolute_positions:
            self.pos_embed = new_table(config.n_class_tokens + rows * columns, config.dim)
        self.layers = nn.ModuleList(self._new_block(index) for index in range(config.depth))
        self.norm_f = new_norm(config.norm, config.dim)
        self.head = new_head(config.dim, config.n_classes)

    def _new_block(self, index: int) -> MambaBlock:
        config = self.config
        # A block drops the branch of the block before it, so the rates are those of one further up.
        share = max(index - 1, 0) / max(config.depth - 1, 1)
        return MambaBlock(
            config.dim,
            "fo-fo" if config.direction == "alternating" else config.direction,
            config.ssm,
            depth=config.depth,
            drop_path=share * config.drop_path,
            norm=config.norm,
            reverse=config.direction == "alternating" and index % 2 == 1,
        )

    @property
    def pools_frames(self) -> bool:
        """Whether a clip's score is pooled over its tokens."""
        return self.config.class_token == "none" and self.config.pool != "last"

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score images or features for each class.

        Args:
            features: images (batch, 3, height, width) if n_channels is 3, else (batch, frames,
                mels); of any size from one patch on, as learned positions are resized.
            lengths: (batch,) frames of each clip, integers, for features; None for all frames of
                all clips.

        Returns:
            Logits (batch, classes); with pool "all" and no class token (batch, tokens, classes).

        Raises:
            ConfigError: the input is smaller than a patch, has another number of channels or mel
                bands, or the lengths do not fit.
        """
        tokens, layout = self._encode(features, lengths)
        if self.config.class_token != "none" or self.config.pool in ("mean", "last"):
            logits: Tensor = self.head(layout.pool(tokens, self.config.pool))
            return logits
        per_token: Tensor = self.head(tokens)
        return per_token if self.config.pool == "all" else layout.largest(per_token)

    def tokens(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode images or features as a sequence of tokens.

        Args:
            features: as in forward.
            lengths: as in forward.

        Returns:
            (batch, tokens, dim), after the last norm, class tokens included, in the order of the
            sequence; of a shorter clip its own tokens first.

        Raises:
            ConfigError: as in forward.
        """
        return self._encode(features, lengths)[0]

    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode images or features as one vector each.

        Args:
            features: as in forward.
            lengths: as in forward.

        Returns:
            (batch, dim): the class token (the mean of two), or the pooled tokens; with pool "max"
            or "all" their mean.
        """
        tokens, layout = self._encode(features, lengths)
        return layout.pool(tokens, self.config.pool)

    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode images or features as one vector per column of patches.

        Args:
            features: as in forward.
            lengths: as in forward.

        Returns:
            (batch, columns, dim), the mean over a column's patches, without class tokens.
        """
        tokens, layout = self._encode(features, lengths)
        return layout.split(tokens).mean(dim=1)

    def frame_steps(self, n_frames: int) -> FrameSteps:
        """Say how a clip is divided into columns of patches.

        Args:
            n_frames: frames of the clip, at least one patch.

        Returns:
            The columns.
        """
        stride = self.config.stride or self.config.patch
        size = (self.config.n_mels, n_frames)
        return FrameSteps(patch_grid(size, self.config.patch, stride)[1], stride[1])

    def _encode(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Layout]:
        """The tokens after the last norm, and where they stand."""
        config = self.config
        hidden, layout = self._sequence(features, lengths)
        rotary = config.positions if isinstance(config.positions, RotaryPositions) else None
        turns = self._turns(layout, rotary.side, hidden.device) if rotary else None
        residual, n_tokens = None, layout.lengths
        for layer in self.layers:
            if rotary and turns:
                hidden = turn_pairs(hidden, turns)
                if residual is not None and rotary.residual:
                    residual = turn_pairs(residual, turns)
            hidden, residual = layer(hidden, residual, n_tokens)
        drop_path = config.drop_path if self.training else 0.0
        return add_and_norm(hidden, residual, self.norm_f, drop_path)[0], layout

    def _sequence(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Layout]:
        """Patches with absolute positions and class tokens, in the order of the sequence."""
        config = self.config
        patch, stride = config.patch, config.stride or config.patch
        image, lengths = as_map(features, lengths, config, shortest=patch[1])
        grid = patch_grid((image.shape[2], image.shape[3]), patch, stride)
        patches = self.patch_embed(image, patch, stride)
        columns = None if lengths is None else (lengths - patch[1]) // stride[1] + 1
        layout = Layout(grid, "frequency", config.class_token, columns)
        class_tokens = self._class_tokens()
        if config.has_absolute_positions:
            table = self._class_rows_first()
            patches = patches + layout.table(lambda size: self._positions(table, size))
            if class_tokens is not None:
                class_tokens = class_tokens + table[:, : config.n_class_tokens]
        if class_tokens is not None:
            class_tokens = class_tokens.to(patches.dtype).expand(patches.shape[0], -1, -1)
        return layout.join(patches.permute(0, 2, 3, 1), class_tokens), layout

    def _positions(self, table: Tensor, grid: tuple[int, int]) -> Tensor:
        """The positions of a grid of patches, (1, dim, rows, columns), resized if need be."""
        n_class_tokens = self.config.n_class_tokens
        resized = resize_positions(table, self.config.grid, grid, n_class_tokens)
        patches: Tensor = resized[:, n_class_tokens:].transpose(1, 2).unflatten(2, grid)
        return patches

    def _class_tokens(self) -> Tensor | None:
        """The learned class tokens, (1, class tokens, dim)."""
        if self.config.class_token == "double":
            return torch.cat([self.cls_token_head, self.cls_token_tail], dim=1)
        return None if self.config.class_token == "none" else self.cls_token

    def _class_rows_first(self) -> Tensor:
        """The learned positions, the rows of class tokens before those of the patches."""
        place = self.config.class_token
        return self.pos_embed if place == "none" else class_rows_first(self.pos_embed, place)

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


def class_rows_first(table: Tensor, place: ClassToken) -> Tensor:
    """Bring positions from the order of the sequence into that of resize_positions.

    Args:
        table: (1, tokens, dim) in the order of the sequence.
        place: of the class token; not "none".

    Returns:
        (1, tokens, dim), the rows of class tokens first, then those of the patches.
    """
    if place == "double":
        return torch.cat([table[:, :1], table[:, -1:], table[:, 1:-1]], dim=1)
    index = class_token_index(place, table.shape[1] - 1)
    parts = [table[:, index : index + 1], table[:, :index], table[:, index + 1 :]]
    return torch.cat(parts, dim=1)


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
