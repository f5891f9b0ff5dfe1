"""AST, the Audio Spectrogram Transformer, and DeiT, the image transformer that it starts from.

A plain pre-norm vision transformer on 16x16 patches with a class token at the head of the sequence.
Three forms of it are in use:

    AST of the AuM paper    patches side by side, one class token
    AST of Gong et al.      overlapping patches (every 10 bands and frames), and a second token,
                            that of DeiT's distillation; the clip's vector is the mean of the two
    DeiT                    images of 224 by 224, one class token, no norm in the head

Source: Gong, Chung, Glass, "AST: Audio Spectrogram Transformer" (2021); Erol et al. 2024, section
III, for the first form; Touvron et al., "Training data-efficient image transformers & distillation
through attention" (2021).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError
from audiomamba.models.base import AudioModel, FrameSteps, new_head
from audiomamba.models.layers.attention import MLP, Attention
from audiomamba.models.layers.input_map import as_map
from audiomamba.models.layers.patches import PatchEmbed, Size, new_table, patch_grid
from audiomamba.models.layers.vision import VisionConfig
from audiomamba.ops.padding import valid_mask

__all__ = ["AST", "MODELS", "ASTConfig", "crop_or_stretch_positions"]

NORM_EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class ASTConfig(VisionConfig):
    """Settings of AST; the defaults are AST-B of the AuM paper.

    Args:
        patch: (mel bands, frames) of a patch.
        stride: (mel bands, frames) between patches.
        dim: channels of a token.
        depth: number of blocks.
        n_heads: attention heads; divides dim.
        class_tokens: one, or a second one that DeiT's distillation has trained; the clip's vector
            is then the mean of the two.
        head_norm: whether the head has a norm of its own before its linear layer.

    Raises:
        ConfigError: dim is no multiple of n_heads.

    Examples:
        >>> config = ASTConfig(stride=(10, 10))  # patches of 16 by 16 that overlap
        >>> config.grid, config.reads_sound
        ((12, 101), True)
    """

    family: ClassVar[str] = "ast"

    patch: Size = (16, 16)
    stride: Size = (16, 16)
    dim: int = 768
    depth: int = 12
    n_heads: int = 12
    class_tokens: Literal["one", "with-distillation"] = "one"
    head_norm: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % self.n_heads:
            raise ConfigError(f"dim is {self.dim}; expected a multiple of n_heads, {self.n_heads}")

    @property
    def grid(self) -> Size:
        """Rows (of frequency) and columns (of time) of patches."""
        return patch_grid((self.n_mels, self.n_frames), self.patch, self.stride)

    @property
    def n_class_tokens(self) -> int:
        """How many class tokens the sequence starts with."""
        return 1 if self.class_tokens == "one" else 2

    @property
    def weights_from(self) -> str | None:
        """Whose released weights fit: those of Gong et al. with sound, DeiT's with images."""
        if not self.reads_sound:
            return None if self.head_norm else "DeiT (timm)"
        return "AST" if self.class_tokens == "with-distillation" else None

    def build(self) -> "AST":
        """Make the model, with fresh weights."""
        return AST(self)


class TransformerBlock(nn.Module):
    """Attention and MLP, each after a layer norm and beside a shortcut."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, n_heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = MLP(dim)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """Mix tokens, then channels; arguments and result as of Attention."""
        x = x + self.attn(self.norm1(x), seen)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class AST(AudioModel):
    """Audio Spectrogram Transformer.

    Args:
        config: its settings.

    Examples:
        >>> import torch
        >>> model = ASTConfig(dim=32, depth=2, n_heads=2, n_frames=64, n_classes=10).build()
        >>> model(torch.zeros(2, 64, 128)).shape
        torch.Size([2, 10])
    """

    undecayed = frozenset({"pos_embed", "cls_token"})
    config: ASTConfig

    def __init__(self, config: ASTConfig) -> None:
        super().__init__(config)
        rows, columns = config.grid
        self.patch_embed = PatchEmbed(config.patch, config.dim, config.n_channels)
        self.cls_token = new_table(1, config.dim)
        if config.class_tokens == "with-distillation":
            self.dist_token = new_table(1, config.dim)
        self.pos_embed = new_table(config.n_class_tokens + rows * columns, config.dim)
        self.blocks = nn.ModuleList(
            TransformerBlock(config.dim, config.n_heads) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.dim, eps=NORM_EPS)
        self.head_norm = nn.LayerNorm(config.dim) if config.head_norm else nn.Identity()
        self.head = new_head(config.dim, config.n_classes)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    @property
    def pools_frames(self) -> bool:
        """Never: the class token scores the clip."""
        return False

    def tokens(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features or images as a sequence of tokens.

        Args:
            features: (batch, frames, mels), or (batch, 3, height, width) if n_channels is 3; of the
                configured size.
            lengths: (batch,) frames of each clip, integers, for features: what comes after is not
                attended to. There may then be fewer frames than configured, which have the first
                positions. None for all frames of all clips.

        Returns:
            (batch, tokens, dim), after the last norm, the class tokens first. What a shorter clip
            has after its own columns means nothing.

        Raises:
            ConfigError: the features have another size, or the lengths do not fit.
        """
        return self._encode(features, lengths)[0]

    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features or images as one vector each.

        Args:
            features: as for tokens.
            lengths: as for tokens.

        Returns:
            (batch, dim), the class token or the mean of two, after the head's norm if it has one.
        """
        vector = self.tokens(features, lengths)[:, : self.config.n_class_tokens].mean(dim=1)
        out: Tensor = self.head_norm(vector)
        return out

    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features or images as one vector per column of patches.

        Args:
            features: as for tokens.
            lengths: as for tokens.

        Returns:
            (batch, columns, dim), the mean over a column's patches, after the head's norm if it
            has one.
        """
        tokens, grid = self._encode(features, lengths)
        patches: Tensor = tokens[:, self.config.n_class_tokens :].unflatten(1, grid)
        out: Tensor = self.head_norm(patches.mean(dim=1))
        return out

    def frame_steps(self, n_frames: int) -> FrameSteps:
        """Say how a clip is divided into columns of patches.

        Args:
            n_frames: frames of the clip, at least one patch.

        Returns:
            The columns.
        """
        config = self.config
        columns = patch_grid((config.n_mels, n_frames), config.patch, config.stride)[1]
        return FrameSteps(columns, config.stride[1])

    def _encode(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Size]:
        """The tokens after the last norm, and the grid of the patches."""
        config = self.config
        image, lengths = self._image(features, lengths)
        patches = self.patch_embed(image, config.patch, config.stride)
        rows, columns = patches.shape[2:]
        class_tokens = [self.cls_token]
        if config.class_tokens == "with-distillation":
            class_tokens.append(self.dist_token)
        starts = [
            token.to(patches.dtype).expand(patches.shape[0], -1, -1) for token in class_tokens
        ]
        x = torch.cat([*starts, patches.flatten(2).transpose(1, 2)], dim=1)
        x = x + self._positions(columns)
        seen = None
        if lengths is not None:
            own = (lengths - config.patch[1]) // config.stride[1] + 1
            seen = F.pad(
                valid_mask(columns, own).repeat(1, rows), (len(class_tokens), 0), value=True
            )
        for block in self.blocks:
            x = block(x, seen)
        return self.norm(x), (rows, columns)

    def _positions(self, columns: int) -> Tensor:
        """The learned positions of the class tokens and of the first so many columns."""
        if columns == self.config.grid[1]:
            return self.pos_embed
        n_class_tokens = self.config.n_class_tokens
        patches: Tensor = self.pos_embed[:, n_class_tokens:].unflatten(1, self.config.grid)
        first = patches[:, :, :columns].flatten(1, 2)
        return torch.cat([self.pos_embed[:, :n_class_tokens], first], dim=1)

    def _image(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """An input of the configured size, or with lengths of at most that, as a map."""
        config = self.config
        image, lengths = as_map(features, lengths, config, shortest=config.patch[1])
        rows, columns = image.shape[2:]
        fits = columns <= config.n_frames if lengths is not None else columns == config.n_frames
        if rows != config.n_mels or not fits:
            found = f"features have {columns} frames; this model takes {config.n_frames}"
            if config.n_channels == 3:
                found = (
                    f"images are {rows} by {columns}; "
                    f"this model takes {config.n_mels} by {config.n_frames}"
                )
            raise ConfigError(found)
        return image, lengths


def crop_or_stretch_positions(table: Tensor, grid: Size, new_grid: Size, n_prefix: int) -> Tensor:
    """Fit learned positions to another grid: the middle of a longer side, else they are stretched.

    Args:
        table: (1, n_prefix + rows * columns, dim), prefix rows (class tokens) first.
        grid: (rows, columns) that the table was made for.
        new_grid: (rows, columns) wanted.
        n_prefix: rows at the start that belong to no patch; they stay as they are.

    Returns:
        (1, n_prefix + new rows * new columns, dim); stretched bilinearly, without antialiasing, the
        columns before the rows.

    Source: Gong et al., "AST" (2021), section 2.2, and the authors' released code.

    Examples:
        >>> table = torch.arange(4.0).view(1, 4, 1)  # one row of four patches, no class token
        >>> crop_or_stretch_positions(table, (1, 4), (1, 2), n_prefix=0).flatten()
        tensor([1., 2.])
    """
    if grid == new_grid:
        return table
    prefix, patches = table[:, :n_prefix], table[:, n_prefix:]
    image = patches.transpose(1, 2).unflatten(2, grid).float()
    for axis, size, new_size in ((3, grid[1], new_grid[1]), (2, grid[0], new_grid[0])):
        if new_size <= size:
            image = image.narrow(axis, size // 2 - new_size // 2, new_size)
        else:
            stretched = (image.shape[2], new_size) if axis == 3 else (new_size, image.shape[3])
            image = F.interpolate(image, stretched, mode="bilinear")
    return torch.cat([prefix, image.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


def _as_gong(dim: int, n_heads: int) -> ASTConfig:
    """The form of AST's own paper: overlapping patches, two class tokens."""
    form = ASTConfig(dim=dim, n_heads=n_heads)
    return form.changed(stride=(10, 10), class_tokens="with-distillation")


def _deit(dim: int, n_heads: int) -> ASTConfig:
    return ASTConfig(dim=dim, n_heads=n_heads, head_norm=False).for_images()


MODELS = {
    "ast_base": ASTConfig(dim=768, n_heads=12),
    "ast_gong_base": _as_gong(dim=768, n_heads=12),
    "ast_gong_small": _as_gong(dim=384, n_heads=6),
    "ast_gong_tiny": _as_gong(dim=192, n_heads=3),
    "ast_small": ASTConfig(dim=384, n_heads=6),
    "ast_tiny": ASTConfig(dim=192, n_heads=3),
    "deit_base": _deit(dim=768, n_heads=12),
    "deit_small": _deit(dim=384, n_heads=6),
    "deit_tiny": _deit(dim=192, n_heads=3),
}
