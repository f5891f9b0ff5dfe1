"""AST, the Audio Spectrogram Transformer, as the baseline of AuM's tables.

A plain pre-norm vision transformer on 16x16 spectrogram patches with a class token at the head of
the sequence and no distillation token: the form that the AuM paper compares against.

Source: Gong, Chung, Glass, "AST: Audio Spectrogram Transformer" (2021); Erol et al. 2024, section
III, for this form.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError
from audiomamba.models.aum import PatchEmbed, patch_grid
from audiomamba.models.base import AudioModel, ModelConfig, check_features, new_head

__all__ = ["AST", "ASTConfig"]

NORM_EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class ASTConfig(ModelConfig):
    """Settings of AST; the defaults are AST-B of the AuM paper.

    Args:
        patch: (mel bands, frames) of a patch.
        stride: (mel bands, frames) between patches.
        dim: channels of a token.
        depth: number of blocks.
        n_heads: attention heads; divides dim.

    Raises:
        ConfigError: dim is no multiple of n_heads.
    """

    family: ClassVar[str] = "ast"

    patch: tuple[int, int] = (16, 16)
    stride: tuple[int, int] = (16, 16)
    dim: int = 768
    depth: int = 12
    n_heads: int = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % self.n_heads:
            raise ConfigError(f"dim is {self.dim}; expected a multiple of n_heads, {self.n_heads}")

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
        rows, columns = patch_grid((config.n_mels, config.n_frames), config.patch, config.stride)
        self.patch_embed = PatchEmbed(config.patch, config.dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + rows * columns, config.dim))
        self.blocks = nn.ModuleList(
            TransformerBlock(config.dim, config.n_heads) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.dim, eps=NORM_EPS)
        self.head_norm = nn.LayerNorm(config.dim)
        self.head = new_head(config.dim, config.n_classes)
        self._initialize()

    def _initialize(self) -> None:
        for table in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(table, std=0.02)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def tokens(self, features: Tensor) -> Tensor:
        """Encode features as a sequence of tokens.

        Args:
            features: (batch, frames, mels), of the configured size.

        Returns:
            (batch, tokens, dim), after the last norm, the class token first.

        Raises:
            ConfigError: the features have another size.
        """
        config = self.config
        check_features(features, config.n_mels)
        if features.shape[1] != config.n_frames:
            raise ConfigError(
                f"features have {features.shape[1]} frames; this model takes {config.n_frames}"
            )
        patches = self.patch_embed(features, config.patch, config.stride)
        x = patches.flatten(2).transpose(1, 2)
        class_token = self.cls_token.to(x.dtype).expand(x.shape[0], -1, -1)
        x = torch.cat([class_token, x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out

    def embed(self, features: Tensor) -> Tensor:
        """Encode features as one vector per clip.

        Args:
            features: (batch, frames, mels), of the configured size.

        Returns:
            (batch, dim), the class token behind the head's norm.
        """
        out: Tensor = self.head_norm(self.tokens(features)[:, 0])
        return out
