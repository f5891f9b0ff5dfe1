"""CNN14 of PANNs: fourteen layers of plain convolution, the standard baseline of audio tagging.

Six blocks of two 3x3 convolutions; the first five halve the map each way. The mean over frequency
leaves a sequence of steps of 32 frames. Two forms of it were released, with the same tensors:

    clip       the maximum and the mean over time are added, and scored once
    segments   every step is scored together with its neighbors; the clip has each class's best step

Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
Recognition" (2020), sections II and III.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError
from audiomamba.models.base import AudioModel, ModelConfig, check_features, new_head

__all__ = ["CNN14", "CNN14Config"]

SHRINKING = 32  # frames per step, and mel bands per row of the last map
BLOCK_DROPOUT, TOKEN_DROPOUT = 0.2, 0.5


@dataclass(frozen=True, kw_only=True)
class CNN14Config(ModelConfig):
    """Settings of CNN14; the defaults are the released model's.

    Args:
        widths: channels of the six blocks.
        pool: "clip" scores the clip once, "segments" scores every step.

    Raises:
        ConfigError: there are fewer mel bands than one row of the last map takes.
    """

    family: ClassVar[str] = "cnn14"
    any_length: ClassVar[bool] = True

    n_mels: int = 64
    n_frames: int = 1001
    widths: tuple[int, int, int, int, int, int] = (64, 128, 256, 512, 1024, 2048)
    pool: Literal["clip", "segments"] = "clip"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_mels < SHRINKING:
            raise ConfigError(f"n_mels is {self.n_mels}; expected at least {SHRINKING}")

    def build(self) -> "CNN14":
        """Make the model, with fresh weights."""
        return CNN14(self)


class ConvBlock(nn.Module):
    """Two 3x3 convolutions, each with a batch norm and a ReLU, then a mean over small squares.

    Args:
        n_in: channels of the input.
        n_out: channels of the output.
        shrinking: rows and columns of the squares; 1 to leave the map as it is.
    """

    def __init__(self, n_in: int, n_out: int, shrinking: int) -> None:
        super().__init__()
        self.shrinking = shrinking
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and shrink a map; (batch, channels, rows, columns) in and out."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        if self.shrinking > 1:
            x = F.avg_pool2d(x, self.shrinking)
        return F.dropout(x, BLOCK_DROPOUT, self.training)


class CNN14(AudioModel):
    """The 14-layer convolution network of PANNs.

    Args:
        config: its settings.
    """

    config: CNN14Config

    def __init__(self, config: CNN14Config) -> None:
        super().__init__(config)
        self.bn0 = nn.BatchNorm1d(config.n_mels)
        pairs = zip((1, *config.widths[:-1]), config.widths, (2, 2, 2, 2, 2, 1), strict=True)
        self.blocks = nn.ModuleList(ConvBlock(*sizes) for sizes in pairs)
        self.blocks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
        self.fc1 = nn.Linear(config.widths[-1], config.widths[-1])
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(self.fc1.bias)
        self.head = new_head(config.widths[-1], config.n_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Score features for each class.

        Args:
            features: (batch, frames, mels); any number of frames.

        Returns:
            Logits (batch, classes).

        Raises:
            ConfigError: the features have another number of mel bands.
        """
        if self.config.pool == "segments":
            return self.frame_logits(features).amax(dim=1)
        return super().forward(features)

    def frame_logits(self, features: Tensor) -> Tensor:
        """Score steps of time for each class.

        Args:
            features: (batch, frames, mels); any number of frames.

        Returns:
            Logits (batch, steps, classes); a step is 32 frames, a last one that is not full is left
            out.

        Raises:
            ConfigError: the features have another number of mel bands.
        """
        logits: Tensor = self.head(self.tokens(features))
        return logits

    def tokens(self, features: Tensor) -> Tensor:
        """Encode features as a sequence of tokens.

        Args:
            features: (batch, frames, mels); any number of frames.

        Returns:
            (batch, steps, dim), one token per step of 32 frames, each with its neighbors.

        Raises:
            ConfigError: the features have another number of mel bands.
        """
        steps = self._steps(features)
        near = F.max_pool1d(steps, 3, 1, 1) + F.avg_pool1d(steps, 3, 1, 1)
        return self._project(near.transpose(1, 2))

    def embed(self, features: Tensor) -> Tensor:
        """Encode features as one vector per clip.

        Args:
            features: (batch, frames, mels); any number of frames.

        Returns:
            (batch, dim): for pool "clip" the head's input, for "segments" the mean of the tokens.

        Raises:
            ConfigError: the features have another number of mel bands.
        """
        if self.config.pool == "segments":
            return self.tokens(features).mean(dim=1)
        steps = self._steps(features)
        return self._project(steps.amax(dim=2) + steps.mean(dim=2))

    def _steps(self, features: Tensor) -> Tensor:
        """(batch, frames, mels) -> (batch, dim, steps)."""
        check_features(features, self.config.n_mels)
        missing = SHRINKING - features.shape[1]
        if missing > 0:  # too short for one step: the last frame again and again
            last = features[:, -1:].expand(-1, missing, -1)
            features = torch.cat([features, last], dim=1)
        x = self.bn0(features.transpose(1, 2)).transpose(1, 2).unsqueeze(1)
        for block in self.blocks:
            x = block(x)
        out: Tensor = x.mean(dim=3)
        return out

    def _project(self, x: Tensor) -> Tensor:
        x = F.relu(self.fc1(F.dropout(x, TOKEN_DROPOUT, self.training)))
        return F.dropout(x, TOKEN_DROPOUT, self.training)
