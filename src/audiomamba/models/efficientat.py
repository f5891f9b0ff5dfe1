"""EfficientAT, an efficient convolution network for audio tagging: MobileNetV3 on spectrograms.

Behind a stem that halves the map each way, fifteen inverted residual blocks halve it four times
more; one width scales all channels. The released networks were trained to give the scores of an
ensemble of Transformers. The mean of the last map feeds a perceptron ("mlp"), or each position of
the map is scored and the scores are averaged ("fully-convolutional").

Source: Schmid et al., "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge
Distillation" (2023), section 2.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError
from audiomamba.models.base import AudioModel, FrameSteps, ModelConfig
from audiomamba.models.layers.conv import masked_batch_norm
from audiomamba.models.layers.input_map import as_map
from audiomamba.models.layers.inverted_residual import (
    ConvNormActivation,
    draw_normal,
    fan_out_std,
    round_channels,
)
from audiomamba.models.layers.mlp_head import MLPHead
from audiomamba.models.layers.mobilenet import (
    BLOCKS,
    STEM_STRIDE,
    mobilenet_blocks,
    mobilenet_stem,
)
from audiomamba.ops.padding import masked_mean

__all__ = ["MODELS", "EfficientAT", "EfficientATConfig"]

HIDDEN_CHANNELS = 1280  # at width 1
LAST_RATIO = 6  # channels of the last map per channel of the last block


@dataclass(frozen=True, kw_only=True)
class EfficientATConfig(ModelConfig):
    """Settings of EfficientAT; the defaults are those of mn10_as.

    Args:
        width: channels of every layer, as a multiple of MobileNetV3's.
        strides: how far the blocks shrink the map, each 1 or 2; the stem halves it before them.
        head: "mlp" scores the mean of the last map, "fully-convolutional" each of its positions.

    Raises:
        ConfigError: the width is 0, or a stride neither 1 nor 2.

    Examples:
        >>> EfficientATConfig(strides=(2, 2, 1, 1)).stride  # frames per column of the last map
        8
    """

    family: ClassVar[str] = "efficientat"
    any_length: ClassVar[bool] = True
    one_pass: ClassVar[bool] = True

    n_frames: int = 1000
    width: float = 1.0
    strides: tuple[int, int, int, int] = (2, 2, 2, 2)
    head: Literal["mlp", "fully-convolutional"] = "mlp"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.width > 0:
            raise ConfigError(f"width is {self.width}; expected more than 0")
        if not {1, 2}.issuperset(self.strides):
            raise ConfigError(f"strides are {self.strides}; expected four of 1 or 2")

    @property
    def stride(self) -> int:
        """Frames per column of the last map."""
        first, second, third, fourth = self.strides
        return STEM_STRIDE * first * second * third * fourth

    def channels(self, n: int) -> int:
        """Scale a number of channels.

        Args:
            n: channels at width 1.

        Returns:
            A multiple of 8.
        """
        return round_channels(self.width * n)

    @property
    def weights_from(self) -> str:
        """Whose released weights fit."""
        return "EfficientAT" if self.head == "mlp" else "EfficientAT (fully convolutional)"

    def build(self) -> "EfficientAT":
        """Make the model, with fresh weights."""
        return EfficientAT(self)


class ConvHead(nn.Module):
    """A linear layer and a batch norm on each position of the last map.

    Args:
        dim: channels of the map.
        n_classes: outputs.
    """

    def __init__(self, dim: int, n_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, n_classes, 1, bias=False)
        self.norm = nn.BatchNorm2d(n_classes)
        draw_normal(self.conv.weight, fan_out_std(self.conv))

    def forward(self, pooled: Tensor) -> Tensor:
        """Score means by the running statistics; (..., dim) to logits (..., classes).

        Then all is linear, so that this is the mean of the scores of all positions, too.
        """
        scores = self.conv(pooled.reshape(-1, pooled.shape[-1], 1, 1))
        norm = self.norm
        out = F.batch_norm(
            scores, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )
        return out.view(*pooled.shape[:-1], -1)

    def of_map(self, image: Tensor, columns: Tensor | None) -> Tensor:
        """Score a map by the statistics of its own positions, as in training.

        Args:
            image: (batch, dim, rows, columns).
            columns: (batch,) columns of each clip; None for all.

        Returns:
            Logits (batch, classes).
        """
        scores = masked_batch_norm(self.norm, self.conv(image), columns, dim=3)
        return masked_mean(scores.mean(dim=2).transpose(1, 2), columns)

    def reset(self, n_classes: int) -> None:
        """Take fresh layers for other classes."""
        old = self.conv.weight
        fresh = ConvHead(old.shape[1], n_classes).to(old.device, old.dtype)
        self.conv, self.norm = fresh.conv, fresh.norm


class EfficientAT(AudioModel):
    """MobileNetV3 for sound.

    Args:
        config: its settings.

    Examples:
        >>> model = EfficientATConfig(width=0.1, n_classes=10).build().eval()
        >>> model(torch.zeros(2, 100, 128)).shape
        torch.Size([2, 10])
    """

    config: EfficientATConfig
    head: MLPHead | ConvHead

    def __init__(self, config: EfficientATConfig) -> None:
        super().__init__(config)
        self.stem = mobilenet_stem(config.width)
        self.blocks = nn.ModuleList(mobilenet_blocks(config.width, config.strides))
        n_in = config.channels(BLOCKS[-1].n_out)
        dim = LAST_RATIO * n_in
        self.last = ConvNormActivation(n_in, dim, 1)
        if config.head == "mlp":
            self.head = MLPHead(dim, config.channels(HIDDEN_CHANNELS), config.n_classes)
        else:
            self.head = ConvHead(dim, config.n_classes)
        # On a CPU nearly twice as fast for a batch.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score features for each class.

        Args:
            features: (batch, frames, mels); any number of frames.
            lengths: (batch,) frames of each clip, integers; None for all frames of all clips.

        Returns:
            Logits (batch, classes).

        Raises:
            ConfigError: the features have another number of mel bands, or the lengths do not fit.
        """
        if self.training and isinstance(self.head, ConvHead):
            return self.head.of_map(*self._map(features, lengths))
        return super().forward(features, lengths)

    def tokens(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as a map of tokens.

        Args:
            features: (batch, frames, mels); any number of frames.
            lengths: as in forward.

        Returns:
            (batch, rows * columns, dim): row after row of the last map, lowest band first, each
            along time. What a shorter clip has after its own columns means nothing.

        Raises:
            ConfigError: as in forward.
        """
        return self._map(features, lengths)[0].flatten(2).transpose(1, 2)

    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per clip.

        Args:
            features: (batch, frames, mels); any number of frames.
            lengths: as in forward.

        Returns:
            (batch, dim), the mean of the last map.

        Raises:
            ConfigError: as in forward.
        """
        image, columns = self._map(features, lengths)
        return masked_mean(image.mean(dim=2).transpose(1, 2), columns)

    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per column of the last map.

        Args:
            features: (batch, frames, mels); any number of frames.
            lengths: as in forward.

        Returns:
            (batch, columns, dim), the mean of each column.

        Raises:
            ConfigError: as in forward.
        """
        return self._map(features, lengths)[0].mean(dim=2).transpose(1, 2)

    def frame_steps(self, n_frames: int) -> FrameSteps:
        """Say how a clip is divided into columns of the last map.

        Args:
            n_frames: frames of the clip.

        Returns:
            The columns; the last may be filled in part only.
        """
        return FrameSteps(-(-n_frames // self.config.stride), self.config.stride)

    def reset_head(self, n_classes: int) -> None:
        """Replace the last layer by a fresh one for other classes; all else stays.

        Args:
            n_classes: outputs of the new layer.
        """
        self.config = self.config.changed(n_classes=n_classes)
        self.head.reset(n_classes)

    def _map(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The last map (batch, dim, rows, columns), and each clip's columns."""
        x, columns = as_map(features, lengths, self.config)
        for layer in (self.stem, *self.blocks, self.last):
            x = layer(x, columns)
            columns = None if columns is None else -(-columns // layer.stride)
        return x, columns


MODELS = {
    "mn01_as": EfficientATConfig(width=0.1),
    "mn02_as": EfficientATConfig(width=0.2),
    "mn04_as": EfficientATConfig(width=0.4),
    "mn05_as": EfficientATConfig(width=0.5),
    "mn10_as": EfficientATConfig(),
    "mn10_as_fc": EfficientATConfig(head="fully-convolutional"),
    "mn10_as_fc_s2211": EfficientATConfig(head="fully-convolutional", strides=(2, 2, 1, 1)),
    "mn10_as_fc_s2221": EfficientATConfig(head="fully-convolutional", strides=(2, 2, 2, 1)),
    "mn10_as_hop_5": EfficientATConfig(n_frames=2000),
    "mn10_as_hop_15": EfficientATConfig(n_frames=667),
    "mn10_as_hop_20": EfficientATConfig(n_frames=500),
    "mn10_as_hop_25": EfficientATConfig(n_frames=400),
    "mn10_as_mels_40": EfficientATConfig(n_mels=40),
    "mn10_as_mels_64": EfficientATConfig(n_mels=64),
    "mn10_as_mels_256": EfficientATConfig(n_mels=256),
    "mn20_as": EfficientATConfig(width=2.0),
    "mn30_as": EfficientATConfig(width=3.0),
    "mn40_as": EfficientATConfig(width=4.0),
    "mn40_as_ext": EfficientATConfig(width=4.0),
    "mn40_as_no_im_pre": EfficientATConfig(width=4.0),
}
