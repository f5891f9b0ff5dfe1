"""What AuM and Vision Mamba share: a stack of Mamba blocks on a sequence of patches.

A spectrogram or an image is cut into patches, each becomes a token, learned positions are added,
class tokens are put into the sequence, and the blocks read it. The normed class token, or the
pooled tokens, feed a linear head. Positions are resized to the grid of what comes in.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from audiomamba.models.base import AudioModel, FrameSteps, ModelConfig, new_head
from audiomamba.models.layers.drop_path import drop_path, drop_rates
from audiomamba.models.layers.input_map import as_map
from audiomamba.models.layers.mamba import UNDECAYED, Direction, MambaBlock, SSMConfig
from audiomamba.models.layers.patches import PatchEmbed, Size, new_table, patch_grid
from audiomamba.models.layers.sequence import N_CLASS_TOKENS, ClassToken, Layout, TokenOrder
from audiomamba.ops.add_norm import Norm, add_norm, new_norm
from audiomamba.ops.padding import masked_max
from audiomamba.ops.resize import resize_positions

__all__ = ["PatchSequenceConfig", "PatchSequenceModel"]


@dataclass(frozen=True, kw_only=True)
class PatchSequenceConfig(ModelConfig):
    """The settings that AuM and Vim share.

    Args:
        patch: (mel bands, frames) of a patch, or (height, width).
        stride: (mel bands, frames) between patches; None for the patch itself, no overlap.
        dim: channels of a token.
        depth: number of blocks.
        class_token: where it stands in the sequence; "double" puts one at each end and averages
            them.
        pool: without a class token: "mean" of the tokens, "max" over tokens of the logits, the
            "last" token, or "all" tokens, each with logits of its own.
        direction: form of the mixers; in "alternating" every second one reads from the end.
        ssm: inner sizes of the mixers.
        drop_path: highest probability of dropping a block's branch in training; grows linearly with
            depth.
    """

    one_pass: ClassVar[bool] = True

    patch: Size = (16, 16)
    stride: Size | None = None
    dim: int = 768
    depth: int = 24
    class_token: ClassToken = "middle"
    pool: Literal["mean", "max", "last", "all"] = "mean"
    direction: Direction | Literal["alternating"] = "fo-bi"
    ssm: SSMConfig = field(default_factory=SSMConfig)
    drop_path: float = 0.0

    @property
    def grid(self) -> Size:
        """Rows (of frequency) and columns (of time) of patches at the configured input size."""
        return patch_grid((self.n_mels, self.n_frames), self.patch, self.stride or self.patch)

    @property
    def n_class_tokens(self) -> int:
        """How many class tokens the sequence has."""
        return N_CLASS_TOKENS[self.class_token]


class PatchSequenceModel(AudioModel):
    """A stack of Mamba blocks on a sequence of patches.

    A clip has any number of frames, an image any size, from one patch on.

    Args:
        config: its settings.
        token_order: the order of the patches in the sequence.
        positions: whether there is a table of learned positions.
        norm: kind of the norms.
    """

    undecayed = UNDECAYED | {"pos_embed", "cls_token", "cls_token_head", "cls_token_tail"}
    config: PatchSequenceConfig

    def __init__(
        self, config: PatchSequenceConfig, token_order: TokenOrder, *, positions: bool, norm: Norm
    ) -> None:
        super().__init__(config)
        self.token_order = token_order
        dim, depth, ssm = config.dim, config.depth, config.ssm
        self.patch_embed = PatchEmbed(config.patch, dim, 1 if config.reads_sound else 3)
        if config.class_token == "double":
            self.cls_token_head = new_table(1, dim)
            self.cls_token_tail = new_table(1, dim)
        elif config.class_token != "none":
            self.cls_token = new_table(1, dim)
        n_tokens = config.n_class_tokens + math.prod(config.grid)
        self.pos_embed = new_table(n_tokens, dim) if positions else None
        # A block drops the branch of the block before it, so its rate is that of the one before.
        rates = [0.0, *drop_rates(config.drop_path, depth)][:depth]
        direction: Direction = "fo-fo" if config.direction == "alternating" else config.direction
        backward = [config.direction == "alternating" and i % 2 == 1 for i in range(depth)]
        self.layers = nn.ModuleList(
            MambaBlock(dim, direction, ssm, depth=depth, drop_path=rate, norm=norm, reverse=reverse)
            for rate, reverse in zip(rates, backward, strict=True)
        )
        self.norm_f = new_norm(norm, dim)
        self.head = new_head(dim, config.n_classes)

    @property
    def pools_frames(self) -> bool:
        """Whether a clip's score is pooled over its tokens."""
        return self.config.class_token == "none" and self.config.pool != "last"

    def forward(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        *,
        patch: Size | None = None,
        stride: Size | None = None,
    ) -> Tensor:
        """Score clips for each class: logits (batch, classes).

        With pool "all" and no class token it is every token that is scored, (batch, tokens,
        classes). A `patch` of another size than the configured one is read with a resized kernel;
        `stride` None is the configured one, or `patch` if that is given.
        """
        tokens, layout = self._encode(features, lengths, patch, stride)
        if self.config.class_token != "none" or self.config.pool in ("mean", "last"):
            logits: Tensor = self.head(layout.pool(tokens, self.config.pool))
            return logits
        per_token: Tensor = self.head(tokens)
        return per_token if self.config.pool == "all" else masked_max(per_token, layout.lengths)

    def tokens(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        *,
        patch: Size | None = None,
        stride: Size | None = None,
    ) -> Tensor:
        """Encode as in forward: (batch, tokens, dim), class tokens included, a clip's own first."""
        return self._encode(features, lengths, patch, stride)[0]

    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode each clip as (batch, dim): class token, or mean of two; last or mean of tokens."""
        tokens, layout = self._encode(features, lengths, None, None)
        return layout.pool(tokens, self.config.pool)

    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode each column of patches as the mean of its tokens, (batch, columns, dim)."""
        tokens, layout = self._encode(features, lengths, None, None)
        return layout.split(tokens).mean(dim=1)

    def frame_steps(self, n_frames: int) -> FrameSteps:
        """Divide a clip of so many frames, at least one patch, into columns of patches."""
        stride = self.config.stride or self.config.patch
        size = (self.config.n_mels, n_frames)
        return FrameSteps(patch_grid(size, self.config.patch, stride)[1], stride[1])

    def _encode(
        self, features: Tensor, lengths: Tensor | None, patch: Size | None, stride: Size | None
    ) -> tuple[Tensor, Layout]:
        """The tokens after the last norm, and where they stand."""
        config = self.config
        stride = stride or patch or config.stride or config.patch
        patch = patch or config.patch
        image, lengths = as_map(features, lengths, config, shortest=patch[1])
        grid = patch_grid((image.shape[2], image.shape[3]), patch, stride)
        columns = None if lengths is None else (lengths - patch[1]) // stride[1] + 1
        layout = Layout(grid, self.token_order, config.class_token, columns)
        tokens = self._sequence(self.patch_embed(image, patch, stride), layout)
        hidden, residual = self.run_blocks(tokens, layout)
        branch = drop_path(hidden, config.drop_path if self.training else 0.0)
        return add_norm(branch, residual, self.norm_f)[0], layout

    def _sequence(self, patches: Tensor, layout: Layout) -> Tensor:
        """Patches (batch, dim, rows, columns) with positions and class tokens, as one sequence."""
        class_tokens, n = self._class_tokens(), self.config.n_class_tokens
        if self.pos_embed is not None:
            table, trained = self.position_table(self.pos_embed), self.config.grid
            patches = patches + layout.table(
                lambda grid: resize_positions(table, trained, grid, n)[:, n:].mT.unflatten(2, grid)
            )
            class_tokens = class_tokens + table[:, :n]
        class_tokens = class_tokens.to(patches.dtype).expand(patches.shape[0], -1, -1)
        return layout.join(patches.permute(0, 2, 3, 1), class_tokens)

    def _class_tokens(self) -> Tensor:
        """The learned class tokens, (1, class tokens, dim)."""
        if self.config.class_token == "double":
            return torch.cat([self.cls_token_head, self.cls_token_tail], dim=1)
        if self.config.class_token == "none":
            return self.patch_embed.proj.weight.new_zeros(1, 0, self.config.dim)
        return self.cls_token

    def position_table(self, learned: Tensor) -> Tensor:
        """The learned positions (1, tokens, dim), those of class tokens before the patches'."""
        return learned

    def run_blocks(self, hidden: Tensor, layout: Layout) -> tuple[Tensor, Tensor | None]:
        """Run the blocks on (batch, tokens, dim): the last one's output, and the residual."""
        residual, n_tokens = None, layout.lengths
        for layer in self.layers:
            hidden, residual = layer(hidden, residual, n_tokens)
        return hidden, residual
