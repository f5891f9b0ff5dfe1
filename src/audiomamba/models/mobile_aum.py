"""MobileAuM: bidirectional scan blocks after the depthwise-separable layers of MobileNetV3.

Made to be small and fast, and to be started from a trained EfficientAT: its first blocks shrink the
spectrogram sixteenfold each way, neighboring rows of the map are merged into a few bands, and the
scan blocks read the tokens, alternately along time and along frequency. Each token is widened, as
MobileNetV3 widens its last map, and the mean of all feeds the head. Any number of frames is read as
it is; there is one step of time per 16 frames.

Source: this project; the first layers are EfficientAT's (Schmid et al. 2023), the scan blocks AuM's
(Erol et al. 2024).
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError
from audiomamba.models.base import AudioModel, FrameSteps, ModelConfig, new_head
from audiomamba.models.layers.alternating import new_blocks, read_in_turns
from audiomamba.models.layers.input_map import as_map
from audiomamba.models.layers.inverted_residual import round_channels
from audiomamba.models.layers.mamba import UNDECAYED, Direction, SSMConfig
from audiomamba.models.layers.mlp_head import MLPHead
from audiomamba.models.layers.mobilenet import BLOCKS, mobilenet_blocks, mobilenet_stem
from audiomamba.models.layers.sequence import Layout
from audiomamba.ops import Linear
from audiomamba.ops.add_norm import new_norm

__all__ = ["MODELS", "MobileAuM", "MobileAuMConfig"]

MIN_BLOCKS, MAX_BLOCKS = 7, 12  # between the last two halvings of the map
STRIDE = 16


@dataclass(frozen=True, kw_only=True)
class MobileAuMConfig(ModelConfig):
    """Settings of MobileAuM.

    Args:
        width: channels of the convolutions, as a multiple of MobileNetV3's.
        n_blocks: MobileNetV3's blocks that are kept, from the first; 7 to 12, which all make a map
            of one size.
        n_bands: tokens per step of time, each for as many rows of the map.
        dim: channels of a token.
        depth: number of scan blocks.
        direction: form of the mixer.
        ssm: inner sizes of the mixers.
        drop_path: highest probability of dropping a block's branch in training; grows linearly with
            depth.
        embed_dim: channels that the head reads.
        frame_context: columns of the map whose mean a step of time is embedded as, itself in the
            middle; odd. The head is trained on means, so it is surer of some than of one.
        head: "mlp" has a layer in between, "linear" is a linear classifier. A head for other
            classes is linear.
        n_hidden: channels of the layer in between.

    Raises:
        ConfigError: the width is 0, n_blocks is not 7 to 12, or n_mels is no multiple of 16 times
            n_bands.

    Examples:
        >>> MobileAuMConfig(width=0.4, dim=192, n_classes=10).family
        'mobile_aum'
    """

    family: ClassVar[str] = "mobile_aum"
    any_length: ClassVar[bool] = True
    one_pass: ClassVar[bool] = True

    n_frames: int = 1000
    width: float = 0.4
    n_blocks: int = 12
    n_bands: int = 1
    dim: int = 192
    depth: int = 2
    direction: Direction = "fo-bi"
    ssm: SSMConfig = field(default_factory=SSMConfig)
    drop_path: float = 0.0
    embed_dim: int = 384
    frame_context: int = 1
    head: Literal["mlp", "linear"] = "mlp"
    n_hidden: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.width > 0:
            raise ConfigError(f"width is {self.width}; expected more than 0")
        if not MIN_BLOCKS <= self.n_blocks <= MAX_BLOCKS:
            raise ConfigError(f"n_blocks is {self.n_blocks}; expected {MIN_BLOCKS} to {MAX_BLOCKS}")
        if self.frame_context % 2 == 0:
            raise ConfigError(f"frame_context is {self.frame_context}; expected an odd number")
        if self.n_mels % (STRIDE * self.n_bands):
            raise ConfigError(
                f"n_mels is {self.n_mels}; expected a multiple of {STRIDE} x n_bands, "
                f"{STRIDE * self.n_bands}"
            )

    def build(self) -> "MobileAuM":
        """Make the model, with fresh weights."""
        return MobileAuM(self)


class MobileAuM(AudioModel):
    """Scan blocks after the first layers of MobileNetV3.

    Args:
        config: its settings.

    Examples:
        >>> model = MobileAuMConfig(width=0.1, dim=16, depth=1, n_classes=10).build().eval()
        >>> model(torch.zeros(2, 100, 128)).shape
        torch.Size([2, 10])
    """

    undecayed = UNDECAYED | {"pos_embed"}
    moments_window_s = 2.0  # of 1, 2, 4 and 10 s, by benchmarks/general_events.py
    config: MobileAuMConfig

    def __init__(self, config: MobileAuMConfig) -> None:
        super().__init__(config)
        self.stem = mobilenet_stem(config.width)
        self.blocks = nn.ModuleList(mobilenet_blocks(config.width, (2, 2, 2), config.n_blocks))
        n_rows = config.n_mels // STRIDE // config.n_bands
        n_merged = n_rows * round_channels(config.width * BLOCKS[config.n_blocks - 1].n_out)
        self.merge = Linear(n_merged, config.dim)
        self.pos_embed = nn.Parameter(torch.empty(1, config.n_bands, 1, config.dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.layers = new_blocks(
            config.dim, config.depth, config.direction, config.ssm, config.drop_path
        )
        self.norm_f = new_norm("rms", config.dim)
        self.widen = Linear(config.dim, config.embed_dim)
        if config.head == "mlp":
            self.head = MLPHead(config.embed_dim, config.n_hidden, config.n_classes)
        else:
            self.head = new_head(config.embed_dim, config.n_classes)

    def tokens(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as a map of tokens.

        Args:
            features: (batch, frames, mels); any number of frames.
            lengths: (batch,) frames of each clip, integers; None for all frames of all clips.

        Returns:
            (batch, n_bands * columns, embed_dim): band after band, lowest first, each along time,
            one column per 16 frames (rounded up). Of a shorter clip its own tokens come first.

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
            (batch, embed_dim), the mean of the tokens.
        """
        tokens, layout = self._encode(features, lengths)
        return layout.pool(tokens, "mean")

    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per step of time.

        Args:
            features: (batch, frames, mels).
            lengths: as for tokens.

        Returns:
            (batch, columns, embed_dim), the mean over the tokens of a column and of its neighbors.
        """
        tokens, layout = self._encode(features, lengths)
        columns = layout.split(tokens).mean(dim=1)
        context = self.config.frame_context
        if context == 1:
            return columns
        counted = columns.new_ones(columns.shape[:2])
        if lengths is not None:
            index = torch.arange(columns.shape[1], device=columns.device)
            counted = (index < -(-lengths.to(columns.device) // STRIDE)[:, None]).to(columns)
        sums = _neighbor_means(columns * counted[..., None], context)
        # Beyond a clip's end the columns are 0, and no neighbors are counted.
        return sums / _neighbor_means(counted[..., None], context).clamp(min=1e-6)

    def frame_steps(self, n_frames: int) -> FrameSteps:
        """Say how a clip is divided into columns of the map.

        Args:
            n_frames: frames of the clip.

        Returns:
            The columns; the last may be filled in part only.
        """
        return FrameSteps(-(-n_frames // STRIDE), STRIDE)

    def reset_head(self, n_classes: int) -> None:
        """Replace the head by a fresh linear one for other classes; all else stays.

        Args:
            n_classes: outputs of the new head.
        """
        self.config = self.config.changed(n_classes=n_classes, head="linear")
        old = self.widen.weight
        self.head = new_head(self.config.embed_dim, n_classes).to(old.device, old.dtype)

    def _encode(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Layout]:
        """The widened tokens, and where they stand."""
        patches, columns = self._patches(features, lengths)
        drop_rate = self.config.drop_path if self.training else 0.0
        tokens, layout = read_in_turns(self.layers, self.norm_f, patches, columns, drop_rate)
        return F.hardswish(self.widen(tokens)), layout

    def _patches(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Merged patches (batch, bands, columns, dim), and each clip's columns."""
        x, columns = as_map(features, lengths, self.config)
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in (self.stem, *self.blocks):
            x = layer(x, columns)
            columns = None if columns is None else -(-columns // layer.stride)
        bands = x.permute(0, 3, 2, 1).unflatten(2, (self.config.n_bands, -1)).flatten(3)
        return self.merge(bands.transpose(1, 2)) + self.pos_embed, columns


def _neighbor_means(x: Tensor, context: int) -> Tensor:
    """Means of (batch, columns, any) over so many columns around each, zeros beyond the ends."""
    return F.avg_pool1d(x.transpose(1, 2), context, stride=1, padding=context // 2).transpose(1, 2)


MODELS = {"mobile_aum_small": MobileAuMConfig(n_blocks=11, depth=1, frame_context=9)}
