"""CNN, a small plain convolution network: the control without scan and without attention.

Source: this project; nothing more than 3x3 convolutions, batch norms and a mean.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from audiomamba.models.base import AudioModel, ModelConfig, check_features, new_head
from audiomamba.models.conv_aum import ConvNorm

__all__ = ["CNN", "CNNConfig"]


@dataclass(frozen=True, kw_only=True)
class CNNConfig(ModelConfig):
    """Settings of CNN.

    Args:
        widths: channels after each halving of the map; every halving but the last is followed by
            one more convolution.
    """

    family: ClassVar[str] = "cnn"
    any_length: ClassVar[bool] = True

    widths: tuple[int, int, int, int] = (48, 96, 192, 256)

    def build(self) -> "CNN":
        """Make the model, with fresh weights."""
        return CNN(self)


class CNN(AudioModel):
    """Seven 3x3 convolutions and a mean.

    Args:
        config: its settings.
    """

    config: CNNConfig

    def __init__(self, config: CNNConfig) -> None:
        super().__init__(config)
        n_in, layers = 1, list[nn.Module]()
        for width in config.widths[:-1]:
            layers += [ConvNorm(n_in, width, stride=2), ConvNorm(width, width, stride=1)]
            n_in = width
        layers.append(ConvNorm(n_in, config.widths[-1], stride=2))
        self.layers = nn.Sequential(*layers)
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
        self.head = new_head(config.widths[-1], config.n_classes)

    def tokens(self, features: Tensor) -> Tensor:
        """Encode features as a map of tokens.

        Args:
            features: (batch, frames, mels); any number of frames.

        Returns:
            (batch, rows * columns, dim): row after row of 16 mel bands, lowest first, each along
            time.

        Raises:
            ConfigError: the features have another number of mel bands.
        """
        check_features(features, self.config.n_mels)
        image: Tensor = self.layers(features.transpose(1, 2).unsqueeze(1))
        return image.flatten(2).transpose(1, 2)

    def embed(self, features: Tensor) -> Tensor:
        """Encode features as one vector per clip.

        Args:
            features: (batch, frames, mels).

        Returns:
            (batch, dim), the mean of the tokens.
        """
        return self.tokens(features).mean(dim=1)
