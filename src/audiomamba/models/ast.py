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
from audiomamba.models.aum import PatchEmbed, new_table, patch_grid
from audiomamba.models.base import AudioModel, ModelConfig, as_map, new_head

__all__ = ["AST", "ASTConfig"]

NORM_EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class ASTConfig(ModelConfig):
    """Settings of AST; the defaults are AST-B of the AuM paper.

    Args:
        n_channels: 1 for features, 3 for images (batch, 3, height, width); n_mels and n_frames are
            the height and the width of an image.
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
    """

    family: ClassVar[str] = "ast"

    n_channels: Literal[1, 3] = 1
    patch: tuple[int, int] = (16, 16)
    stride: tuple[int, int] = (16, 16)
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
    def grid(self) -> tuple[int, int]:
        """Rows (of frequency) and columns (of time) of patches."""
        return patch_grid((self.n_mels, self.n_frames), self.patch, self.stride)

    @property
    def n_class_tokens(self) -> int:
        """How many class tokens the sequence starts with."""
        return 1 if self.class_tokens == "one" else 2

    def build(self) -> "AST":
        """Make the model, with fresh weights."""
        return AST(self)


class Attention(nn.Module):
    """Multi-head self-attention.

    Args:
        dim: channels of a token.
        n_heads: attention heads.
    """

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Attend; (batch, tokens, dim) in and out."""
        query, key, value = self.qkv(x).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class MLP(nn.Module):
    """Two linear layers, four times as wide between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token; (batch, tokens, dim) in and out."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class TransformerBlock(nn.Module):
    """Attention and MLP, each behind a layer norm and beside a shortcut."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, n_heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = MLP(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Mix tokens, then channels; (batch, tokens, dim) in and out."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class AST(AudioModel):
    """Audio Spectrogram Transformer.

    Args:
        config: its settings.
    """

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

    def tokens(self, features: Tensor) -> Tensor:
        """Encode features or images as a sequence of tokens.

        Args:
            features: (batch, frames, mels), or (batch, 3, height, width) if n_channels is 3; of the
                configured size.

        Returns:
            (batch, tokens, dim), after the last norm, the class tokens first.

        Raises:
            ConfigError: the features have another size.
        """
        x = self._patches(features)
        class_tokens = [self.cls_token]
        if self.config.class_tokens == "with-distillation":
            class_tokens.append(self.dist_token)
        starts = [token.to(x.dtype).expand(x.shape[0], -1, -1) for token in class_tokens]
        x = torch.cat([*starts, x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out

    def embed(self, features: Tensor) -> Tensor:
        """Encode features or images as one vector each.

        Args:
            features: as for tokens.

        Returns:
            (batch, dim), the class token or the mean of two, behind the head's norm if it has one.
        """
        vector = self.tokens(features)[:, : self.config.n_class_tokens].mean(dim=1)
        out: Tensor = self.head_norm(vector)
        return out

    def _patches(self, features: Tensor) -> Tensor:
        """Patches of an input of the configured size, (batch, patches, dim)."""
        config = self.config
        image = as_map(features, config.n_channels, config.n_mels)
        rows, columns = image.shape[2:]
        if (rows, columns) != (config.n_mels, config.n_frames):
            found = f"features have {columns} frames; this model takes {config.n_frames}"
            if config.n_channels == 3:
                found = (
                    f"images are {rows} by {columns}; "
                    f"this model takes {config.n_mels} by {config.n_frames}"
                )
            raise ConfigError(found)
        patches: Tensor = self.patch_embed(image, config.patch, config.stride)
        return patches.flatten(2).transpose(1, 2)
