"""CNN14 of PANNs: fourteen layers of plain convolution, the standard baseline of audio tagging.

Six blocks of two 3x3 convolutions; the first five halve the map each way. The mean over frequency
leaves a sequence of steps of 32 frames. Two forms of it were released, with the same tensors:

    clip       the maximum and the mean over time are added, and scored once
    segments   every step is scored together with its neighbors; the clip has each class's best step

As in PANNs' own code, all frames are read; the copy of the second form in HTS-AT's code leaves the
last frame out.

Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
Recognition" (2020), sections II and III.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError
from audiomamba.models.base import AudioModel, FrameSteps, ModelConfig, new_head
from audiomamba.models.layers.conv import masked_batch_norm
from audiomamba.models.layers.input_map import fit_features
from audiomamba.ops import Linear
from audiomamba.ops.padding import mask_padding, masked_max, masked_mean

__all__ = ["CNN14", "MODELS", "CNN14Config"]

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

    Examples:
        >>> CNN14Config(pool="segments").weights_from
        'PANNs CNN14'
    """

    family: ClassVar[str] = "cnn14"
    any_length: ClassVar[bool] = True
    one_pass: ClassVar[bool] = True

    n_mels: int = 64
    n_frames: int = 1001
    widths: tuple[int, int, int, int, int, int] = (64, 128, 256, 512, 1024, 2048)
    pool: Literal["clip", "segments"] = "clip"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_mels < SHRINKING:
            raise ConfigError(f"n_mels is {self.n_mels}; expected at least {SHRINKING}")

    @property
    def weights_from(self) -> str:
        """Whose released weights fit."""
        return "PANNs CNN14"

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

    def forward(self, x: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Convolve and shrink a map.

        Args:
            x: (batch, channels, frames, mels).
            frames: (batch,) frames of each clip; None for all.

        Returns:
            (batch, channels, frames, mels), smaller by `shrinking`, and each clip's frames of it.
        """
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2)):
            x = conv(mask_padding(x, frames, dim=2))
            x = F.relu(masked_batch_norm(norm, x, frames, dim=2), inplace=True)
        if self.shrinking > 1:
            x = F.avg_pool2d(x, self.shrinking)
            frames = None if frames is None else frames // self.shrinking
        return F.dropout(x, BLOCK_DROPOUT, self.training), frames


class CNN14(AudioModel):
    """The 14-layer convolution network of PANNs.

    Args:
        config: its settings.

    Examples:
        >>> model = CNN14Config(widths=(2, 2, 4, 4, 8, 8), n_classes=10, pool="segments").build()
        >>> model.frame_logits(torch.zeros(2, 96, 64)).shape  # one step per 32 frames
        torch.Size([2, 3, 10])
    """

    config: CNN14Config

    def __init__(self, config: CNN14Config) -> None:
        super().__init__(config)
        self.bn0 = nn.BatchNorm1d(config.n_mels)
        pairs = zip((1, *config.widths[:-1]), config.widths, (2, 2, 2, 2, 2, 1), strict=True)
        self.blocks = nn.ModuleList(ConvBlock(*sizes) for sizes in pairs)
        self.blocks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
        self.fc1 = Linear(config.widths[-1], config.widths[-1])
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(self.fc1.bias)
        self.head = new_head(config.widths[-1], config.n_classes)

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
        if self.config.pool == "clip":
            return super().forward(features, lengths)
        steps, n_steps = self._steps(features, lengths)
        per_step: Tensor = self.head(self._near(steps, n_steps))
        return masked_max(per_step, n_steps)

    def tokens(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as a sequence of tokens.

        Args:
            features: (batch, frames, mels); any number of frames.
            lengths: as in forward.

        Returns:
            (batch, steps, dim), one token per step of 32 frames, each with its neighbors; a last
            step that is not full is left out.

        Raises:
            ConfigError: as in forward.
        """
        return self._near(*self._steps(features, lengths))

    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per clip.

        Args:
            features: (batch, frames, mels); any number of frames.
            lengths: as in forward.

        Returns:
            (batch, dim): for pool "clip" the head's input, for "segments" the mean of the tokens.

        Raises:
            ConfigError: as in forward.
        """
        steps, n_steps = self._steps(features, lengths)
        if self.config.pool == "segments":
            return masked_mean(self._near(steps, n_steps), n_steps)
        return self._project(masked_max(steps.mT, n_steps) + masked_mean(steps.mT, n_steps))

    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per step of 32 frames: the tokens.

        Args:
            features: (batch, frames, mels); any number of frames.
            lengths: as in forward.

        Returns:
            (batch, steps, dim).

        Raises:
            ConfigError: as in forward.
        """
        return self.tokens(features, lengths)

    def frame_steps(self, n_frames: int) -> FrameSteps:
        """Say how a clip is divided into steps.

        Args:
            n_frames: frames of the clip.

        Returns:
            The steps: at least one; a last one that is not full is left out.
        """
        return FrameSteps(max(1, n_frames // SHRINKING), SHRINKING)

    def _steps(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The last map's mean over frequency (batch, dim, steps), and each clip's steps."""
        features, frames = _filled(*fit_features(features, lengths, self.config.n_mels))
        by_band = masked_batch_norm(self.bn0, features.transpose(1, 2), frames, dim=2)
        x = by_band.transpose(1, 2).unsqueeze(1)
        for block in self.blocks:
            x, frames = block(x, frames)
        out: Tensor = x.mean(dim=3)
        return out, frames

    def _near(self, steps: Tensor, n_steps: Tensor | None) -> Tensor:
        """The tokens: each step with its neighbors, (batch, dim, steps) to (batch, steps, dim)."""
        # After a ReLU and a mean 0 is the least that there is: padding never is the largest.
        steps = mask_padding(steps, n_steps, dim=2)
        near = F.max_pool1d(steps, 3, 1, 1) + F.avg_pool1d(steps, 3, 1, 1)
        return self._project(near.transpose(1, 2))

    def _project(self, x: Tensor) -> Tensor:
        x = F.relu(self.fc1(F.dropout(x, TOKEN_DROPOUT, self.training)))
        return F.dropout(x, TOKEN_DROPOUT, self.training)


def _filled(features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Make clips that are too short for one step longer by their last frame, again and again."""
    if lengths is None:
        if isinstance(n := features.shape[1], int) and n >= SHRINKING:  # open while exported
            return features, None
        last = features[:, -1:].expand(-1, SHRINKING - 1, -1)
        return torch.cat([features, last], dim=1)[:, : torch.sym_max(n, SHRINKING)], None
    frames = torch.arange(max(SHRINKING, features.shape[1]), device=features.device)
    frames = torch.minimum(frames, lengths[:, None] - 1)
    filled = features.gather(1, frames[..., None].expand(-1, -1, features.shape[2]))
    return filled, lengths.clamp(min=SHRINKING)


MODELS = {"cnn14": CNN14Config()}
