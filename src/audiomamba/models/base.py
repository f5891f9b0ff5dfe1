"""What every model of the zoo has in common: a frozen config, scores of clips and of their steps.

Models of sound read features (batch, frames, mels). Some systems come from vision and read images
(batch, 3, height, width) as well.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from audiomamba.config import check
from audiomamba.errors import UnknownNameError
from audiomamba.ops import Linear

__all__ = [
    "AudioModel",
    "FeatureMap",
    "FrameSteps",
    "HierarchicalModel",
    "ModelConfig",
    "VisionConfig",
    "drop_path",
    "new_head",
]


@dataclass(frozen=True, kw_only=True)
class ModelConfig(ABC):
    """The fields that every model has; each system adds its own.

    Args:
        n_classes: outputs of the head.
        n_mels: mel bands of the input.
        n_frames: frames of the input that the model is made for.

    Raises:
        ConfigError: a field has a value that its type does not allow.
    """

    family: ClassVar[str]
    any_length: ClassVar[bool] = False  # whether a short clip is read as it is, without padding
    one_pass: ClassVar[bool] = False  # whether a recording of any length can be read at once

    n_classes: int = 527
    n_mels: int = 128
    n_frames: int = 1024

    def __post_init__(self) -> None:
        check(self)

    @abstractmethod
    def build(self) -> "AudioModel":
        """Make the model, with fresh weights.

        Returns:
            The model, in training mode.
        """

    @property
    def reads_sound(self) -> bool:
        """Whether the input is (batch, frames, mels), and not images (batch, 3, height, width).

        Clips of a batch may have lengths of their own, images may not.
        """
        return True

    def changed(self, **changes: Any) -> Self:
        """Copy the config with some fields changed.

        Args:
            changes: new values by field name.

        Returns:
            The new config.

        Raises:
            UnknownNameError: a name is not a field.
            ConfigError: a value does not fit its field.
        """
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise UnknownNameError(f"field of {type(self).__name__}", name, known)
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class VisionConfig(ModelConfig):
    """The fields of models that come from vision and read images as well.

    Args:
        n_channels: 1 for features (batch, frames, mels), 3 for images (batch, 3, height, width),
            whose height and width are n_mels and n_frames.
    """

    n_channels: Literal[1, 3] = 1

    @property
    def reads_sound(self) -> bool:
        """Whether the input is (batch, frames, mels), and not images (batch, 3, height, width)."""
        return self.n_channels == 1


@dataclass(frozen=True)
class FrameSteps:
    """The steps of time that a model scores.

    Args:
        count: how many.
        n_frames: frames from one step to the next; step i begins at frame i * n_frames.
    """

    count: int
    n_frames: float


class AudioModel(nn.Module, ABC):
    """A model from features to class logits: an encoder and a linear head.

    Clips of different length share a batch if their lengths are given: each then gets what it gets
    alone, without what lies behind its end, whatever that is.

    Args:
        config: the model's settings; kept as `self.config`.
    """

    head: nn.Module  # a linear layer, unless the model says otherwise

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def pools_frames(self) -> bool:
        """Whether a clip's score is pooled over time, so that the head has learned single steps."""
        return True

    @abstractmethod
    def tokens(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as a sequence of tokens.

        Args:
            features: (batch, frames, mels).
            lengths: (batch,) frames of each clip, integers; None for all frames of all clips.

        Returns:
            (batch, tokens, dim), after the last norm, in the order in which the last block had
            them.

        Raises:
            ConfigError: the features or the lengths do not fit the model.
        """

    @abstractmethod
    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per clip, the head's input.

        Args:
            features: (batch, frames, mels).
            lengths: as for tokens.

        Returns:
            (batch, dim).

        Raises:
            ConfigError: as for tokens.
        """

    @abstractmethod
    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per step of time.

        Args:
            features: (batch, frames, mels).
            lengths: as for tokens.

        Returns:
            (batch, steps, dim) of the head's input; behind a clip's own steps any finite values.

        Raises:
            ConfigError: as for tokens.
        """

    @abstractmethod
    def frame_steps(self, n_frames: int) -> FrameSteps:
        """Say how a clip is divided into steps of time.

        Args:
            n_frames: frames of the clip, as many as the model reads at least.

        Returns:
            The steps; what is left behind the last has no step.
        """

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score features for each class.

        Args:
            features: (batch, frames, mels).
            lengths: as for tokens.

        Returns:
            Logits (batch, classes).

        Raises:
            ConfigError: as for tokens.
        """
        logits: Tensor = self.head(self.embed(features, lengths))
        return logits

    def frame_logits(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score each step of time for each class.

        Args:
            features: (batch, frames, mels).
            lengths: as for tokens.

        Returns:
            Logits (batch, steps, classes); behind a clip's own steps any finite values.

        Raises:
            ConfigError: as for tokens.
        """
        logits: Tensor = self.head(self.frame_embeddings(features, lengths))
        return logits

    def reset_head(self, n_classes: int) -> None:
        """Replace the head by a fresh one for other classes; all else stays.

        Args:
            n_classes: outputs of the new head.
        """
        if not isinstance(self.head, nn.Linear):
            raise TypeError(f"the head of {type(self).__name__} is not linear")
        self.config = self.config.changed(n_classes=n_classes)
        old = self.head.weight
        self.head = new_head(old.shape[1], n_classes).to(old.device, old.dtype)


class FeatureMap(NamedTuple):
    """What one stage of a hierarchical model gives.

    Args:
        map: (batch, channels, rows, columns), rows of frequency, columns of time.
        stride: rows and columns of the model's input per row and column of the map.
    """

    map: Tensor
    stride: int


class HierarchicalModel(AudioModel):
    """A model whose stages give maps of falling size, as heads for dense tasks read them."""

    @abstractmethod
    def forward_intermediates(self, features: Tensor) -> list[FeatureMap]:
        """Encode features as one map per stage.

        Args:
            features: (batch, frames, mels), or an image.

        Returns:
            The stages' outputs, the largest map first.
        """


def new_head(dim: int, n_classes: int) -> nn.Linear:
    """A linear classifier, initialized as in the papers."""
    head = Linear(dim, n_classes)
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head


def drop_path(branch: Tensor, probability: float) -> Tensor:
    """Drop the residual branch of whole samples, and scale up what is kept.

    Args:
        branch: (batch, ...).
        probability: of dropping a sample's branch; 0 outside training.

    Returns:
        (batch, ...).
    """
    if probability == 0:
        return branch
    keep = torch.rand(branch.shape[0], *[1] * (branch.ndim - 1), device=branch.device)
    return branch * ((keep >= probability) / (1 - probability)).to(branch.dtype)
