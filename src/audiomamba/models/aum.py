"""AuM, Audio Mamba: bidirectional Mamba blocks on spectrogram patches.

The log-mel spectrogram is cut into patches (16 mel bands by 16 frames), each becomes a token, a
learned position is added, and a stack of Mamba blocks reads the sequence. Tokens run along time
within each row of patches, lowest frequencies first. A class token, put into the middle of the
sequence in the released models, or the pooled tokens feed a linear head.

Source: Erol, Senocak, Feng, Chung, "Audio Mamba: Bidirectional State Space Model for Audio
Representation Learning" (2024), section II.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from audiomamba.models.base import (
    AudioModel,
    FrameSteps,
    ModelConfig,
    new_head,
)
from audiomamba.models.layers.mamba import Direction, MambaBlock, SSMConfig, add_and_norm, new_norm
from audiomamba.models.layers.padding import as_map
from audiomamba.models.layers.patches import PatchEmbed, new_table, patch_grid, resize_positions
from audiomamba.models.layers.sequence import ClassToken, Layout, TokenOrder

__all__ = [
    "AuM",
    "AuMConfig",
    "Pool",
]

Pool = Literal["mean", "max", "last"]


@dataclass(frozen=True, kw_only=True)
class AuMConfig(ModelConfig):
    """Settings of AuM; the defaults are AuM-B on AudioSet.

    Args:
        patch: (mel bands, frames) of a patch.
        stride: (mel bands, frames) between patches; None for the patch itself, no overlap.
        dim: channels of a token.
        depth: number of blocks.
        direction: form of the mixer.
        class_token: its place in the sequence; "double" puts one at each end and averages them.
        pool: without a class token: "mean" of the tokens, "max" over tokens of the logits, or the
            "last" token.
        positions: learned absolute positions, or none.
        token_order: "frequency" reads row of patches after row, along time; "time" reads column
            after column.
        ssm: inner sizes of the mixers.
        drop_path: highest probability of dropping a block's branch in training; grows linearly with
            depth.
    """

    family: ClassVar[str] = "aum"
    one_pass: ClassVar[bool] = True

    patch: tuple[int, int] = (16, 16)
    stride: tuple[int, int] | None = None
    dim: int = 768
    depth: int = 24
    direction: Direction = "fo-bi"
    class_token: ClassToken = "middle"
    pool: Pool = "mean"
    positions: Literal["absolute", "none"] = "absolute"
    token_order: TokenOrder = "frequency"
    ssm: SSMConfig = field(default_factory=SSMConfig)
    drop_path: float = 0.0

    @property
    def grid(self) -> tuple[int, int]:
        """Rows (of frequency) and columns (of time) of patches at the configured input size."""
        return patch_grid((self.n_mels, self.n_frames), self.patch, self.stride or self.patch)

    @property
    def n_class_tokens(self) -> int:
        """How many class tokens the sequence has."""
        return {"none": 0, "double": 2}.get(self.class_token, 1)

    def build(self) -> "AuM":
        """Make the model, with fresh weights."""
        return AuM(self)


class AuM(AudioModel):
    """Audio Mamba.

    Args:
        config: its settings.
    """

    config: AuMConfig

    def __init__(self, config: AuMConfig) -> None:
        super().__init__(config)
        rows, columns = config.grid
        self.patch_embed = PatchEmbed(config.patch, config.dim)
        if config.class_token == "double":
            self.cls_token_head = new_table(1, config.dim)
            self.cls_token_tail = new_table(1, config.dim)
        elif config.class_token != "none":
            self.cls_token = new_table(1, config.dim)
        if config.positions == "absolute":
            self.pos_embed = new_table(config.n_class_tokens + rows * columns, config.dim)
        rates = [0.0, *torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()]
        self.layers = nn.ModuleList(
            MambaBlock(config.dim, config.direction, config.ssm, depth=config.depth, drop_path=rate)
            for rate in rates[: config.depth]
        )
        self.norm_f = new_norm("rms", config.dim)
        self.head = new_head(config.dim, config.n_classes)

    @property
    def pools_frames(self) -> bool:
        """Whether a clip's score is pooled over its tokens."""
        return self.config.class_token == "none" and self.config.pool != "last"

    def forward(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        *,
        patch: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
    ) -> Tensor:
        """Score features for each class.

        Args:
            features: (batch, frames, mels); any number of frames from one patch on: positions are
                resized.
            lengths: (batch,) frames of each clip, integers; None for all frames of all clips.
            patch: cut patches of another size than the configured one, with a resized kernel.
            stride: step between patches; None for the configured one, or for `patch` if that is
                given.

        Returns:
            Logits (batch, classes).

        Raises:
            ConfigError: the features or a clip are smaller than a patch, have another number of mel
                bands, or the lengths do not fit the features.
        """
        tokens, layout = self._encode(features, lengths, patch, stride)
        if self.config.class_token == "none" and self.config.pool == "max":
            return layout.largest(self.head(tokens))
        logits: Tensor = self.head(layout.pool(tokens, self.config.pool))
        return logits

    def tokens(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        *,
        patch: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
    ) -> Tensor:
        """Encode features as a sequence of tokens.

        Args:
            features: (batch, frames, mels).
            lengths: as in forward.
            patch: as in forward.
            stride: as in forward.

        Returns:
            (batch, tokens, dim), after the last norm, class tokens included, in the order of the
            scan; of a shorter clip its own tokens first.

        Raises:
            ConfigError: as in forward.
        """
        return self._encode(features, lengths, patch, stride)[0]

    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per clip.

        Args:
            features: (batch, frames, mels).
            lengths: as in forward.

        Returns:
            (batch, dim): the class token (the mean of two), or the pooled tokens; with pool "max"
            their mean.
        """
        tokens, layout = self._encode(features, lengths, None, None)
        return layout.pool(tokens, self.config.pool)

    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per column of patches.

        Args:
            features: (batch, frames, mels).
            lengths: as in forward.

        Returns:
            (batch, columns, dim), the mean over a column's patches, without class tokens.
        """
        tokens, layout = self._encode(features, lengths, None, None)
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

    def _encode(
        self,
        features: Tensor,
        lengths: Tensor | None,
        patch: tuple[int, int] | None,
        stride: tuple[int, int] | None,
    ) -> tuple[Tensor, Layout]:
        """The tokens after the last norm, and where they stand."""
        hidden, layout = self._sequence(features, lengths, patch, stride)
        residual, n_tokens = None, layout.lengths
        for layer in self.layers:
            hidden, residual = layer(hidden, residual, n_tokens)
        drop_path = self.config.drop_path if self.training else 0.0
        return add_and_norm(hidden, residual, self.norm_f, drop_path)[0], layout

    def _sequence(
        self,
        features: Tensor,
        lengths: Tensor | None,
        patch: tuple[int, int] | None,
        stride: tuple[int, int] | None,
    ) -> tuple[Tensor, Layout]:
        """Patches with positions and class tokens, in the order of the scan."""
        config = self.config
        stride = stride or patch or config.stride or config.patch
        patch = patch or config.patch
        image, lengths = as_map(features, lengths, config, shortest=patch[1])
        grid = patch_grid((image.shape[2], image.shape[3]), patch, stride)
        patches = self.patch_embed(image, patch, stride)
        columns = None if lengths is None else (lengths - patch[1]) // stride[1] + 1
        layout = Layout(grid, config.token_order, config.class_token, columns)
        class_tokens = self._class_tokens()
        if config.positions == "absolute":
            patches = patches + layout.table(self._positions)
            if class_tokens is not None:
                class_tokens = class_tokens + self.pos_embed[:, : config.n_class_tokens]
        if class_tokens is not None:
            class_tokens = class_tokens.to(patches.dtype).expand(patches.shape[0], -1, -1)
        return layout.join(patches.permute(0, 2, 3, 1), class_tokens), layout

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """The positions of a grid of patches, (1, dim, rows, columns)."""
        n_class_tokens = self.config.n_class_tokens
        table = resize_positions(self.pos_embed, self.config.grid, grid, n_class_tokens)
        patches: Tensor = table[:, n_class_tokens:].transpose(1, 2).unflatten(2, grid)
        return patches

    def _class_tokens(self) -> Tensor | None:
        """The learned class tokens, (1, class tokens, dim)."""
        if self.config.class_token == "double":
            return torch.cat([self.cls_token_head, self.cls_token_tail], dim=1)
        return None if self.config.class_token == "none" else self.cls_token
