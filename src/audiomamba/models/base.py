"""What every model has in common: a frozen config, and scores of clips and of their steps.

A config has the facts that other parts of the package ask for, and makes the model. A model encodes
features (batch, frames, mels); some systems come from vision and read images as well.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from audiomamba.config import check, with_changes
from audiomamba.ops import Linear

__all__ = ["AudioModel", "FrameSteps", "ModelConfig", "new_head"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig(ABC):
    """The fields that every model has; each system adds its own.

    Args:
        n_classes: outputs of the head.
        n_mels: mel bands of the input.
        n_frames: frames of the input that the model is made for.

    Examples:
        >>> from audiomamba import models
        >>> config = models.MODELS["cnn_small"].changed(n_classes=10)
        >>> config.family, config.n_classes, config.reads_sound
        ('cnn', 10, True)
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
        """Make the model, in training mode, with fresh weights."""

    @property
    def reads_sound(self) -> bool:
        """Whether the input is features, which may have lengths, not images, which have none."""
        return True

    @property
    def weights_from(self) -> str | None:
        """Whose released weights fit this form of the model, a name of checkpoints.ORIGINS."""
        return None

    def changed(self, **changes: Any) -> Self:
        """Copy with some fields changed, each checked; UnknownNameError if a name is no field."""
        return with_changes(self, changes)


@dataclass(frozen=True)
class FrameSteps:
    """The steps of time that a model scores: step i begins at frame i * n_frames."""

    count: int
    n_frames: float  # from one step to the next


class AudioModel(nn.Module, ABC):
    """A model from features to class logits: an encoder and a head.

    All methods that encode take features (batch, frames, mels), and lengths (batch,), the frames of
    each clip as integers, or None for all. With lengths each clip gets what it gets alone, and what
    follows its own steps of time means nothing. All raise ConfigError for what does not fit.

    Args:
        config: the model's settings; kept as `self.config`.

    Examples:
        >>> import torch
        >>> from audiomamba import models
        >>> model = models.create("cnn_small", n_classes=10).eval()
        >>> features, lengths = torch.zeros(2, 100, 128), torch.tensor([100, 60])
        >>> model(features, lengths).shape, model.embed(features, lengths).shape
        (torch.Size([2, 10]), torch.Size([2, 256]))
    """

    undecayed: ClassVar[frozenset[str]] = frozenset()  # names of matrices without weight decay
    moments_window_s: float | None = None  # windows that tell moments best; None for the input's
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
        """Encode each clip as a sequence of tokens (batch, tokens, dim), after the last norm."""

    @abstractmethod
    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode each clip as one vector (batch, dim), the head's input."""

    @abstractmethod
    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode each step of time as one vector (batch, steps, dim), as the head reads it."""

    @abstractmethod
    def frame_steps(self, n_frames: int) -> FrameSteps:
        """Say how a clip of so many frames is divided into the steps of frame_embeddings."""

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score clips for each class: logits (batch, classes)."""
        logits: Tensor = self.head(self.embed(features, lengths))
        return logits

    def frame_logits(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score each step of time for each class: logits (batch, steps, classes)."""
        logits: Tensor = self.head(self.frame_embeddings(features, lengths))
        return logits

    def reset_head(self, n_classes: int) -> None:
        """Replace the head by a fresh one for other classes; all else stays."""
        if not isinstance(self.head, nn.Linear):
            raise TypeError(f"the head of {type(self).__name__} is not linear")
        self.config = self.config.changed(n_classes=n_classes)
        old = self.head.weight
        self.head = new_head(old.shape[1], n_classes).to(old.device, old.dtype)


def new_head(dim: int, n_classes: int) -> nn.Linear:
    """A linear classifier, initialized as in the papers."""
    head = Linear(dim, n_classes)
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head
