"""Semantic segmentation: a class for each pixel of an image, or each cell of a spectrogram."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.config import NotNegative, check
from audiomamba.errors import ConfigError
from audiomamba.models import ModelConfig
from audiomamba.vision.backbones import BlockBackbone, BlockFeature, StageBackbone
from audiomamba.vision.heads.plain_pyramid import PlainPyramid
from audiomamba.vision.heads.upernet import FCNHead, UPerHead

__all__ = ["IGNORED", "Segmenter", "SegmenterConfig"]

IGNORED = 255  # the label of pixels that nothing is learnt from


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig:
    """A backbone with UPerNet's head.

    Args:
        model: the backbone's settings.
        blocks: after which blocks a model that is not hierarchical is read, counted from 1; () for
            stages.
        feature: what is read of these blocks.
        dim: channels of the head.
        n_classes: classes of a pixel.
        aux_index: which map the second head reads in training.
        aux_dim: channels of the second head.
        aux_weight: weight of its loss.

    Raises:
        ConfigError: a field has a value that its type does not allow.

    Examples:
        >>> from audiomamba.models import MambaOutConfig
        >>> SegmenterConfig(model=MambaOutConfig(n_channels=3), n_classes=19).n_classes
        19
    """

    model: ModelConfig
    blocks: tuple[int, ...] | tuple[()] = ()
    feature: BlockFeature = "stream"
    dim: int = 512
    n_classes: int = 150
    aux_index: NotNegative = 2
    aux_dim: int = 256
    aux_weight: float = 0.4
    kind: Literal["segmenter"] = "segmenter"

    def __post_init__(self) -> None:
        check(self)

    def changed(self, **changes: Any) -> "SegmenterConfig":
        """Copy the config with some fields changed."""
        return replace(self, **changes)

    def build(self) -> "Segmenter":
        """Make the model, in training mode, with fresh weights."""
        return Segmenter(self)


class Segmenter(nn.Module):
    """A model from images, or features, to a class for each pixel.

    Args:
        config: its settings.

    Examples:
        >>> from audiomamba.models import MambaOutConfig
        >>> small = MambaOutConfig(depths=(1, 1, 1), dims=(8, 16, 24), n_channels=3)
        >>> model = SegmenterConfig(model=small, dim=16, n_classes=5).build().eval()
        >>> model(torch.zeros(2, 3, 64, 96)).shape
        torch.Size([2, 5, 64, 96])
    """

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        if config.blocks:
            self.backbone: BlockBackbone | StageBackbone = BlockBackbone(
                config.model, blocks=config.blocks, feature=config.feature
            )
            self.pyramid: nn.Module = PlainPyramid(self.backbone.dims[0])
        else:
            self.backbone = StageBackbone(config.model)
            self.pyramid = nn.Identity()
        dims = self.backbone.dims
        self.head = UPerHead(dims, config.dim, config.n_classes)
        self.aux_head = FCNHead(dims[config.aux_index], config.aux_dim, config.n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Score each pixel.

        Args:
            images: (batch, 3, height, width), or features (batch, frames, mels) if the backbone
                reads sound.

        Returns:
            Logits (batch, classes, height, width); of features (batch, classes, mels, frames).

        Raises:
            ConfigError: the input does not fit the backbone.
        """
        return _enlarged(self.head(self._maps(images)), self._size(images))

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """How wrong the model is, both heads together.

        Args:
            images: as for forward.
            labels: (batch, height, width) integers, 255 where nothing is learnt.

        Returns:
            The cross entropy's mean over pixels, with the second head's at its weight.
        """
        maps, size = self._maps(images), self._size(images)
        main = _cross_entropy(_enlarged(self.head(maps), size), labels)
        aux = _cross_entropy(_enlarged(self.aux_head(maps[self.config.aux_index]), size), labels)
        return main + self.config.aux_weight * aux

    @torch.inference_mode()
    def slide(self, image: Tensor, window: int, stride: int) -> Tensor:
        """Score an image of any size by windows of one size; where they overlap, their mean counts.

        Args:
            image: (3, height, width).
            window: height and width of a window, pixels.
            stride: pixels from one window to the next.

        Returns:
            Logits (classes, height, width).

        Raises:
            ConfigError: stride is not from 1 to window.

        Examples:
            >>> from audiomamba.models import MambaOutConfig
            >>> small = MambaOutConfig(depths=(1, 1, 1), dims=(8, 16, 24), n_channels=3)
            >>> model = SegmenterConfig(model=small, dim=16, n_classes=5).build().eval()
            >>> model.slide(torch.zeros(3, 70, 90), window=64, stride=48).shape
            torch.Size([5, 70, 90])
        """
        if not 0 < stride <= window:
            raise ConfigError(f"stride is {stride}; expected 1 to {window}, the window")
        height, width = image.shape[1:]
        padded = F.pad(image, (0, max(window - width, 0), 0, max(window - height, 0)))
        total = padded.new_zeros(self.config.n_classes, *padded.shape[1:])
        n_seen = padded.new_zeros(padded.shape[1:])
        for top in _starts(padded.shape[1], window, stride):
            for left in _starts(padded.shape[2], window, stride):
                at = (..., slice(top, top + window), slice(left, left + window))
                total[at] += self(padded[at][None])[0]
                n_seen[at] += 1
        return (total / n_seen)[:, :height, :width]

    def _maps(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.pyramid(self.backbone(images))
        return maps

    def _size(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of the result."""
        if self.config.model.reads_sound:
            return images.shape[2], images.shape[1]
        return images.shape[2], images.shape[3]


def _enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over all pixels, those to ignore counting as right, as in mmsegmentation."""
    losses = F.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="none")
    return losses.mean()


def _starts(size: int, window: int, stride: int) -> list[int]:
    """Where windows begin so that they cover a side; the last one ends with it."""
    n_windows = max(-(-(size - window) // stride), 0) + 1
    return [min(index * stride, size - window) for index in range(n_windows)]
