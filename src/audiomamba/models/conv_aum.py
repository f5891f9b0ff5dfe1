"""ConvAuM: bidirectional scan blocks behind a small residual convolution stem, mean-pooled.

Made for little data and small machines: the stem looks at the spectrogram closely and shrinks it
sixteenfold each way, the scan blocks then read the whole map, alternately along time and along
frequency, and the mean of all tokens feeds the head. There are positions for frequency only, so any
number of frames is read as it is.

Source: this project; the blocks are AuM's (Erol et al. 2024).
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError
from audiomamba.models.base import AudioModel, ModelConfig, check_features, new_head
from audiomamba.models.mamba import Direction, MambaBlock, SSMConfig, add_and_norm

__all__ = ["ConvAuM", "ConvAuMConfig"]

STEM_STRIDE = 16


@dataclass(frozen=True, kw_only=True)
class ConvAuMConfig(ModelConfig):
    """Settings of ConvAuM.

    Args:
        stem: channels after the first three of the stem's four halvings; the fourth gives dim.
        dim: channels of a token.
        depth: number of scan blocks.
        direction: form of the mixer.
        ssm: inner sizes of the mixers.
        drop_path: highest probability of dropping a block's branch in training; grows linearly with
            depth.

    Raises:
        ConfigError: n_mels is no multiple of 16.
    """

    family: ClassVar[str] = "conv_aum"
    any_length: ClassVar[bool] = True

    n_frames: int = 512
    stem: tuple[int, int, int] = (24, 48, 96)
    dim: int = 192
    depth: int = 4
    direction: Direction = "fo-bi"
    ssm: SSMConfig = field(default_factory=SSMConfig)
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_mels % STEM_STRIDE:
            raise ConfigError(f"n_mels is {self.n_mels}; expected a multiple of {STEM_STRIDE}")

    def build(self) -> "ConvAuM":
        """Make the model, with fresh weights."""
        return ConvAuM(self)


class ConvNorm(nn.Sequential):
    """A 3x3 convolution, a batch norm and a ReLU."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        conv = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        super().__init__(conv, nn.BatchNorm2d(n_out), nn.ReLU())


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, stride=1)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to its input; (batch, channels, height, width) in and out."""
        return F.relu(x + self.norm(self.conv(self.first(x))))


class ConvAuM(AudioModel):
    """Scan blocks behind a convolution stem.

    Args:
        config: its settings.
    """

    config: ConvAuMConfig

    def __init__(self, config: ConvAuMConfig) -> None:
        super().__init__(config)
        first, second, third = config.stem
        self.stem = nn.Sequential(
            ConvNorm(1, first, stride=2),
            ConvNorm(first, second, stride=2),
            Residual(second),
            ConvNorm(second, third, stride=2),
            Residual(third),
            ConvNorm(third, config.dim, stride=2),
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
        rows = config.n_mels // STEM_STRIDE
        self.pos_embed = nn.Parameter(torch.empty(1, config.dim, rows, 1))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        rates = torch.linspace(0, config.drop_path, config.depth + 1, device="cpu").tolist()
        self.layers = nn.ModuleList(
            MambaBlock(config.dim, config.direction, config.ssm, depth=config.depth, drop_path=rate)
            for rate in rates[: config.depth]
        )
        self.norm_f = nn.RMSNorm(config.dim, eps=1e-5)
        self.head = new_head(config.dim, config.n_classes)

    def tokens(self, features: Tensor) -> Tensor:
        """Encode features as a map of tokens.

        Args:
            features: (batch, frames, mels); any number of frames.

        Returns:
            (batch, rows * columns, dim), after the last norm: row after row of n_mels / 16 bands,
            lowest first, each along time, one column per 16 frames (rounded up).

        Raises:
            ConfigError: the features have another number of mel bands.
        """
        check_features(features, self.config.n_mels)
        image = features.transpose(1, 2).unsqueeze(1)
        image = self.stem(image) + self.pos_embed
        rows, columns = image.shape[2:]
        hidden: Tensor = image.flatten(2).transpose(1, 2)
        residual: Tensor | None = None
        for layer in self.layers:
            if residual is not None:
                hidden, residual = (_swap(part, rows, columns) for part in (hidden, residual))
                rows, columns = columns, rows
            hidden, residual = layer(hidden, residual)
        drop_path = self.config.drop_path if self.training else 0.0
        tokens = add_and_norm(hidden, residual, self.norm_f, drop_path)[0]
        return tokens if self.config.depth % 2 else _swap(tokens, rows, columns)

    def embed(self, features: Tensor) -> Tensor:
        """Encode features as one vector per clip.

        Args:
            features: (batch, frames, mels).

        Returns:
            (batch, dim), the mean of the tokens.
        """
        return self.tokens(features).mean(dim=1)


def _swap(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Reorder a map of tokens from row after row to column after column."""
    by_row: Tensor = tokens.unflatten(1, (rows, columns))
    return by_row.transpose(1, 2).flatten(1, 2)
