"""What models that come from vision share: images as input, and maps of falling size.

Such a model reads sound or images, as its config says. A hierarchical one gives a map per stage,
which heads for dense tasks read.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from torch import Tensor

from audiomamba.models.base import AudioModel, ModelConfig

__all__ = ["FeatureMap", "HierarchicalModel", "VisionConfig"]


@dataclass(frozen=True, kw_only=True)
class VisionConfig(ModelConfig):
    """The fields of models that read images as well.

    Args:
        n_channels: 1 for features (batch, frames, mels), 3 for images (batch, 3, height, width),
            whose height and width are n_mels and n_frames.
    """

    n_channels: Literal[1, 3] = 1

    @property
    def reads_sound(self) -> bool:
        """Whether the input is (batch, frames, mels), and not images (batch, 3, height, width)."""
        return self.n_channels == 1

    def for_images(self) -> Self:
        """The same settings for the images and classes of ImageNet."""
        return self.changed(n_channels=3, n_mels=224, n_frames=224, n_classes=1000)


class FeatureMap(NamedTuple):
    """What one stage of a hierarchical model gives.

    Of n rows or columns of the input the map has n / stride, rounded up where the model pads what
    does not fill the last one, down where it leaves that out. So stride times the map's size is the
    input's only if the stride divides it.

    Args:
        map: (batch, channels, rows, columns), rows of frequency, columns of time.
        stride: rows and columns of the model's input from one row or column of the map to the next.
    """

    map: Tensor
    stride: int


class HierarchicalModel(AudioModel):
    """A model whose stages give maps of falling size.

    Examples:
        >>> import torch
        >>> from audiomamba import models
        >>> model = models.create("mambaout_tiny", depths=(1, 1), dims=(8, 16))
        >>> isinstance(model, HierarchicalModel)
        True
        >>> [stage.stride for stage in model.forward_intermediates(torch.zeros(1, 64, 128))]
        [4, 8]
    """

    @abstractmethod
    def forward_intermediates(self, features: Tensor) -> list[FeatureMap]:
        """Encode features as one map per stage.

        Args:
            features: (batch, frames, mels), or an image.

        Returns:
            The stages' outputs, the largest map first.
        """
