"""Object detection and instance segmentation: boxes, their classes, and their pixels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.config import check
from audiomamba.errors import ConfigError
from audiomamba.models import ModelConfig
from audiomamba.vision.backbones import BlockBackbone, StageBackbone
from audiomamba.vision.heads.box_head import BoxHead
from audiomamba.vision.heads.cascade import CASCADE, ONE_STAGE, RoIHeads
from audiomamba.vision.heads.fpn import FPN
from audiomamba.vision.heads.mask_head import MaskHead
from audiomamba.vision.heads.plain_pyramid import SimpleFeaturePyramid
from audiomamba.vision.heads.rpn import RPN
from audiomamba.vision.records import Detections, Instances

__all__ = ["Detector", "DetectorConfig"]

N_ROI_LEVELS = 4  # boxes are read from all levels of the pyramid but the coarsest
SIZE_MULTIPLE = 32  # images of a batch are padded to a multiple of it


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """A backbone with the heads of Mask R-CNN, or of Cascade Mask R-CNN.

    Args:
        model: the backbone's settings.
        blocks: after which block a model that is not hierarchical is read, counted from 1; () for
            stages.
        dim: channels of the pyramid and the heads.
        n_classes: classes of objects.
        cascade: score and move boxes three times, by heads with convolutions.
        side: height and width that images are padded to; None for as much as they need.
        n_proposals: boxes per image that may hold an object.
        n_sampled: boxes per image that a step learns from.

    Raises:
        ConfigError: a field has a value that its type does not allow.

    Examples:
        >>> from audiomamba.models import MambaOutConfig
        >>> DetectorConfig(model=MambaOutConfig(n_channels=3)).n_classes
        80
    """

    model: ModelConfig
    blocks: tuple[int, ...] | tuple[()] = ()
    dim: int = 256
    n_classes: int = 80
    cascade: bool = False
    side: int | None = None
    n_proposals: int = 1000
    n_sampled: int = 512
    kind: Literal["detector"] = "detector"

    def __post_init__(self) -> None:
        check(self)

    def changed(self, **changes: Any) -> "DetectorConfig":
        """Copy the config with some fields changed."""
        return replace(self, **changes)

    def build(self) -> "Detector":
        """Make the model, in training mode, with fresh weights."""
        return Detector(self)


class Detector(nn.Module):
    """A model from images to objects.

    Args:
        config: its settings.

    Examples:
        >>> from audiomamba.models import MambaOutConfig
        >>> small = MambaOutConfig(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8), n_channels=3)
        >>> model = DetectorConfig(model=small, dim=16, n_classes=2).build().eval()
        >>> [found] = model([torch.zeros(3, 64, 96)])
        >>> found.boxes.shape[1], found.masks.shape[1:]
        (4, torch.Size([64, 96]))
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        if config.blocks:
            self.backbone: BlockBackbone | StageBackbone = BlockBackbone(
                config.model, blocks=config.blocks
            )
            self.pyramid: nn.Module = SimpleFeaturePyramid(self.backbone.dims[0], config.dim)
            strides = [self.backbone.strides[0] * scale // 4 for scale in (1, 2, 4, 8, 16)]
        else:
            self.backbone = StageBackbone(config.model)
            self.pyramid = FPN(self.backbone.dims, config.dim)
            strides = [*self.backbone.strides, 2 * self.backbone.strides[-1]]
        self.rpn = RPN(config.dim, 2 if config.cascade else 1, strides, config.n_proposals)
        stages = CASCADE if config.cascade else ONE_STAGE
        box_heads = [
            BoxHead(
                config.dim,
                n_classes=config.n_classes,
                layers="convs" if config.cascade else "linear",
                per_class=not config.cascade,
            )
            for _ in stages
        ]
        mask_head = MaskHead(config.dim, n_classes=config.n_classes, norm=config.cascade)
        self.roi_heads = RoIHeads(
            box_heads, mask_head, stages, strides[:N_ROI_LEVELS], n_sampled=config.n_sampled
        )

    @torch.inference_mode()
    def forward(self, images: Sequence[Tensor]) -> list[Detections]:
        """Find objects.

        Args:
            images: (3, height, width) each, of any size; normed.

        Returns:
            The objects of each image, at most 100, the surest first.

        Raises:
            ConfigError: there is no image, or one has another shape.
        """
        levels, sizes = self._levels(images)
        proposals, _ = self.rpn(levels, sizes)
        return self.roi_heads.detect(levels, proposals, sizes)

    def losses(self, images: Sequence[Tensor], targets: Sequence[Instances]) -> dict[str, Tensor]:
        """How wrong the model is about images; their sum is what is learnt from.

        Args:
            images: as for forward.
            targets: the objects of each.

        Returns:
            Losses by name: of the proposals, and of each stage's classes, boxes and masks.

        Raises:
            ConfigError: as for forward.
        """
        levels, sizes = self._levels(images)
        losses: dict[str, Tensor]
        proposals, losses = self.rpn(levels, sizes, targets)
        return losses | self.roi_heads.losses(levels, proposals, sizes, targets)

    def _levels(self, images: Sequence[Tensor]) -> tuple[list[Tensor], list[tuple[int, int]]]:
        """The pyramid of a batch, and each image's height and width."""
        for image in images:
            if image.ndim != 3 or image.shape[0] != 3:
                raise ConfigError(
                    f"an image has shape {tuple(image.shape)}; expected (3, height, width)"
                )
        if not images:
            raise ConfigError("there is no image; expected at least one")
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        height, width = (self._side(max(side)) for side in zip(*sizes, strict=True))
        batch = torch.stack(
            [
                F.pad(image, (0, width - image.shape[2], 0, height - image.shape[1]))
                for image in images
            ]
        )
        levels: list[Tensor] = self.pyramid(self.backbone(batch))
        return levels, sizes

    def _side(self, longest: int) -> int:
        """To what a side of the batch is padded."""
        side = self.config.side
        if side is None:
            return -(-longest // SIZE_MULTIPLE) * SIZE_MULTIPLE
        if longest > side:
            raise ConfigError(
                f"an image has a side of {longest} pixels; this model takes up to {side}: "
                "make it smaller first"
            )
        return side
