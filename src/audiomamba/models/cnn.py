"""CNN, a small plain convolution network: the control without scan and without attention.

Source: this project; nothing more than 3x3 convolutions, batch norms and a mean.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from audiomamba.models.base import AudioModel, FrameSteps, ModelConfig, new_head
from audiomamba.models.layers.conv import ConvNorm, ConvStack
from audiomamba.models.layers.input_map import as_map
from audiomamba.ops.padding import masked_mean

__all__ = ["CNN", "MODELS", "CNNConfig"]

STRIDE = 16  # frames and mel bands per step of the last map


@dataclass(frozen=True, kw_only=True)
class CNNConfig(ModelConfig):
    """Settings of CNN.

    Args:
        widths: channels after each halving of the map; every halving but the last is followed by
            one more convolution.

    Examples:
        >>> CNNConfig(widths=(8, 16, 32, 64), n_classes=10).any_length
        True
    """

    family: ClassVar[str] = "cnn"
    any_length: ClassVar[bool] = True
    one_pass: ClassVar[bool] = True

    widths: tuple[int, int, int, int] = (48, 96, 192, 256)

    def build(self) -> "CNN":
        """Make the model, with fresh weights."""
        return CNN(self)


class CNN(AudioModel):
    """Seven 3x3 convolutions and a mean.

    Args:
        config: its settings.

    Examples:
        >>> model = CNNConfig(widths=(4, 8, 16, 32), n_classes=10).build()
        >>> model.embed(torch.zeros(2, 50, 128)).shape
        torch.Size([2, 32])
        >>> model.frame_steps(50)
        FrameSteps(count=4, n_frames=16)
    """

    config: CNNConfig

    def __init__(self, config: CNNConfig) -> None:
        super().__init__(config)
        n_in, layers = 1, list[nn.Module]()
        for width in config.widths[:-1]:
            layers += [ConvNorm(n_in, width, stride=2), ConvNorm(width, width, stride=1)]
            n_in = width
        layers.append(ConvNorm(n_in, config.widths[-1], stride=2))
        self.layers = ConvStack(*layers)
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
        self.head = new_head(config.widths[-1], config.n_classes)

    def tokens(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as a map of tokens.

        Args:
            features: (batch, frames, mels); any number of frames.
            lengths: (batch,) frames of each clip, integers; None for all frames of all clips.

        Returns:
            (batch, rows * columns, dim): row after row of 16 mel bands, lowest first, each along
            time. What a shorter clip has after its own columns means nothing.

        Raises:
            ConfigError: the features have another number of mel bands, or the lengths do not fit.
        """
        return self._map(features, lengths)[0].flatten(2).transpose(1, 2)

    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per clip.

        Args:
            features: (batch, frames, mels).
            lengths: as for tokens.

        Returns:
            (batch, dim), the mean of the tokens.
        """
        image, columns = self._map(features, lengths)
        return masked_mean(image.mean(dim=2).transpose(1, 2), columns)

    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per column of the map.

        Args:
            features: (batch, frames, mels).
            lengths: as for tokens.

        Returns:
            (batch, columns, dim), the mean over a column's tokens.
        """
        return self._map(features, lengths)[0].mean(dim=2).transpose(1, 2)

    def frame_steps(self, n_frames: int) -> FrameSteps:
        """Say how a clip is divided into columns of the map.

        Args:
            n_frames: frames of the clip.

        Returns:
            The columns; the last may be filled in part only.
        """
        return FrameSteps(-(-n_frames // STRIDE), STRIDE)

    def _map(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The last map (batch, dim, rows, columns), and each clip's columns."""
        image, lengths = as_map(features, lengths, self.config)
        image = self.layers(image, lengths)
        return image, None if lengths is None else -(-lengths // STRIDE)


MODELS = {"cnn_small": CNNConfig()}
