"""ConvAuM: bidirectional scan blocks after a small residual convolution stem, mean-pooled.

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

from audiomamba.errors import ConfigError
from audiomamba.models.base import AudioModel, FrameSteps, ModelConfig, new_head
from audiomamba.models.layers.alternating import new_blocks, read_in_turns
from audiomamba.models.layers.conv import ConvNorm, ConvStack, Residual
from audiomamba.models.layers.input_map import as_map
from audiomamba.models.layers.mamba import UNDECAYED, Direction, SSMConfig
from audiomamba.models.layers.sequence import Layout
from audiomamba.ops.add_norm import new_norm

__all__ = ["MODELS", "ConvAuM", "ConvAuMConfig"]

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

    Examples:
        >>> config = ConvAuMConfig(dim=96, n_classes=10)
        >>> config.any_length, config.one_pass
        (True, True)
    """

    family: ClassVar[str] = "conv_aum"
    any_length: ClassVar[bool] = True
    one_pass: ClassVar[bool] = True

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


class ConvAuM(AudioModel):
    """Scan blocks after a convolution stem.

    Args:
        config: its settings.

    Examples:
        >>> model = ConvAuMConfig(stem=(4, 8, 16), dim=32, depth=2, n_classes=10).build()
        >>> clips = torch.zeros(2, 80, 128)
        >>> model(clips, torch.tensor([80, 33])).shape  # the second clip ends after 33 frames
        torch.Size([2, 10])
    """

    undecayed = UNDECAYED | {"pos_embed"}
    config: ConvAuMConfig

    def __init__(self, config: ConvAuMConfig) -> None:
        super().__init__(config)
        first, second, third = config.stem
        self.stem = ConvStack(
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
        self.layers = new_blocks(
            config.dim, config.depth, config.direction, config.ssm, config.drop_path
        )
        self.norm_f = new_norm("rms", config.dim)
        self.head = new_head(config.dim, config.n_classes)

    def tokens(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as a map of tokens.

        Args:
            features: (batch, frames, mels); any number of frames.
            lengths: (batch,) frames of each clip, integers; None for all frames of all clips.

        Returns:
            (batch, rows * columns, dim), after the last norm: row after row of n_mels / 16 bands,
            lowest first, each along time, one column per 16 frames (rounded up). Of a shorter clip
            its own tokens come first.

        Raises:
            ConfigError: the features have another number of mel bands, or the lengths do not fit.
        """
        return self._encode(features, lengths)[0]

    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per clip.

        Args:
            features: (batch, frames, mels).
            lengths: as for tokens.

        Returns:
            (batch, dim), the mean of the tokens.
        """
        tokens, layout = self._encode(features, lengths)
        return layout.pool(tokens, "mean")

    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per column of the map.

        Args:
            features: (batch, frames, mels).
            lengths: as for tokens.

        Returns:
            (batch, columns, dim), the mean over a column's tokens.
        """
        tokens, layout = self._encode(features, lengths)
        return layout.split(tokens).mean(dim=1)

    def frame_steps(self, n_frames: int) -> FrameSteps:
        """Say how a clip is divided into columns of the map.

        Args:
            n_frames: frames of the clip.

        Returns:
            The columns; the last may be filled in part only.
        """
        return FrameSteps(-(-n_frames // STEM_STRIDE), STEM_STRIDE)

    def _encode(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Layout]:
        """The tokens after the last norm, and where they stand."""
        image, lengths = as_map(features, lengths, self.config)
        image = self.stem(image, lengths) + self.pos_embed
        columns = None if lengths is None else -(-lengths // STEM_STRIDE)
        patches = image.permute(0, 2, 3, 1)
        drop_rate = self.config.drop_path if self.training else 0.0
        return read_in_turns(self.layers, self.norm_f, patches, columns, drop_rate)


MODELS = {"conv_aum_tiny": ConvAuMConfig()}
