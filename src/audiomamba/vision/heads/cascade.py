"""The second half of Mask R-CNN: score and move proposals, once or in a cascade, and find masks.

In a cascade each stage starts from the boxes that the one before has moved, and asks for more
overlap; when it is used, the stages' scores are averaged.

Source: He et al., "Mask R-CNN" (2017); Cai and Vasconcelos, "Cascade R-CNN" (2018).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.vision import boxes as box_ops
from audiomamba.vision.heads.box_head import BOX_SIZE, BoxHead, of_class
from audiomamba.vision.heads.mask_head import MASK_SIZE, MaskHead, mask_loss, paste_masks
from audiomamba.vision.heads.matching import match, sample
from audiomamba.vision.records import Detections, Instances
from audiomamba.vision.roi_align import pyramid_roi_align

__all__ = ["CASCADE", "ONE_STAGE", "RoIHeads", "Stage"]

OBJECT_SHARE = 0.25
LEAST_SCORE, NMS_LIMIT, N_DETECTIONS = 0.05, 0.5, 100


@dataclass(frozen=True)
class Stage:
    """One time that boxes are scored and moved.

    Args:
        overlap: intersection over union from which a box stands for an object.
        weights: of the deltas, for the shift and the growth.

    Examples:
        >>> [stage.overlap for stage in CASCADE]
        [0.5, 0.6, 0.7]
    """

    overlap: float
    weights: tuple[float, float]


ONE_STAGE = (Stage(0.5, (10.0, 5.0)),)
CASCADE = (Stage(0.5, (10.0, 5.0)), Stage(0.6, (20.0, 10.0)), Stage(0.7, (30.0, 15.0)))


class RoIHeads(nn.Module):
    """Box heads, one per stage, and a mask head.

    Args:
        box_heads: one per stage.
        mask_head: finds the masks of the boxes that come out.
        stages: how each stage learns.
        strides: pixels of the image per row or column of the levels that boxes are read from.
        n_sampled: boxes per image that the first stage learns from.
    """

    def __init__(
        self,
        box_heads: Sequence[BoxHead],
        mask_head: MaskHead,
        stages: Sequence[Stage],
        strides: Sequence[int],
        *,
        n_sampled: int,
    ) -> None:
        super().__init__()
        self.box_heads = nn.ModuleList(box_heads)
        self.mask_head = mask_head
        self.stages = tuple(stages)
        self.strides, self.n_sampled = list(strides), n_sampled

    def losses(
        self,
        levels: Sequence[Tensor],
        proposals: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Instances],
    ) -> dict[str, Tensor]:
        """How wrong the heads are about proposals.

        Args:
            levels: (batch, channels, rows, columns) each.
            proposals: (n, 4) boxes per image.
            sizes: (height, width) of each image.
            targets: the objects of each image; with masks, or the masks are not learnt.

        Returns:
            "class", "box" and "mask", those of later stages with their number.
        """
        boxes = [torch.cat([p, t.boxes]) for p, t in zip(proposals, targets, strict=True)]
        losses: dict[str, Tensor] = {}
        for index, (head, stage) in enumerate(zip(self.box_heads, self.stages, strict=True)):
            chosen = [
                _choose(b, t, stage, None if index else self.n_sampled)
                for b, t in zip(boxes, targets, strict=True)
            ]
            logits, deltas = head(self._read(levels, [one.boxes for one in chosen], BOX_SIZE))
            found = _box_losses(logits, deltas, chosen, targets, stage)
            suffix = f"_{index + 1}" if index else ""
            losses |= {f"{name}{suffix}": value for name, value in found.items()}
            if index == 0:
                first = chosen
            boxes = _moved([one.boxes for one in chosen], logits, deltas, stage, sizes)
        losses["mask"] = self._mask_loss(levels, first, targets)
        return losses

    def detect(
        self,
        levels: Sequence[Tensor],
        proposals: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
    ) -> list[Detections]:
        """Find objects among proposals.

        Args:
            levels: as for losses.
            proposals: as for losses.
            sizes: as for losses.

        Returns:
            At most 100 objects per image, with masks.
        """
        boxes = list(proposals)
        scores: list[Tensor] = []
        for head, stage in zip(self.box_heads, self.stages, strict=True):
            start = boxes
            logits, deltas = head(self._read(levels, start, BOX_SIZE))
            scores.append(logits.softmax(dim=1))
            boxes = _moved(start, logits, deltas, stage, sizes)
        score = torch.stack(scores).mean(dim=0)
        n_boxes = [len(one) for one in start]
        found = [
            _best(s, d, b, size, stage)
            for s, d, b, size in zip(
                score.split(n_boxes), deltas.split(n_boxes), start, sizes, strict=True
            )
        ]
        return self._with_masks(levels, found, sizes)

    def _read(self, levels: Sequence[Tensor], boxes: list[Tensor], size: int) -> Tensor:
        out: Tensor = pyramid_roi_align(levels[: len(self.strides)], self.strides, boxes, size)
        return out

    def _mask_loss(
        self, levels: Sequence[Tensor], chosen: "list[_Chosen]", targets: Sequence[Instances]
    ) -> Tensor:
        objects = [one.matched[: one.n_objects] for one in chosen]
        boxes = [one.boxes[: one.n_objects] for one in chosen]
        logits: Tensor = self.mask_head(self._read(levels, boxes, MASK_SIZE))
        known = [t.masks for t in targets if t.masks is not None]
        if len(known) < len(targets):
            return logits.sum() * 0.0
        classes = torch.cat([t.classes[i] for t, i in zip(targets, objects, strict=True)])
        masks = [m[i] for m, i in zip(known, objects, strict=True)]
        return mask_loss(logits, boxes, classes, masks)

    def _with_masks(
        self,
        levels: Sequence[Tensor],
        found: list[Detections],
        sizes: Sequence[tuple[int, int]],
    ) -> list[Detections]:
        classes = torch.cat([one.classes for one in found])
        logits = self.mask_head(self._read(levels, [one.boxes for one in found], MASK_SIZE))
        own = logits[torch.arange(len(classes), device=classes.device), classes].sigmoid()
        masks = own.split([len(one) for one in found])
        return [
            Detections(one.boxes, one.classes, one.scores, paste_masks(mask, one.boxes, size))
            for one, mask, size in zip(found, masks, sizes, strict=True)
        ]


@dataclass(frozen=True)
class _Chosen:
    """The boxes of one image that a stage learns from, those of objects first."""

    boxes: Tensor
    matched: Tensor  # (boxes,) index of the object, or -1
    n_objects: int


def _choose(boxes: Tensor, target: Instances, stage: Stage, n_sampled: int | None) -> _Chosen:
    """Match boxes with objects, and draw some; None keeps them all."""
    matched = match(boxes, target.boxes, at_least=stage.overlap, below=stage.overlap)
    if n_sampled is None:
        objects, background = sample(matched, len(boxes), 1.0)
    else:
        objects, background = sample(matched, n_sampled, OBJECT_SHARE)
    order = torch.cat([objects, background])
    return _Chosen(boxes[order].detach(), matched[order], len(objects))


def _box_losses(
    logits: Tensor,
    deltas: Tensor,
    chosen: list[_Chosen],
    targets: Sequence[Instances],
    stage: Stage,
) -> dict[str, Tensor]:
    background = logits.shape[1] - 1
    classes, wanted, is_object = [], [], []
    for one, target in zip(chosen, targets, strict=True):
        index = one.matched[: one.n_objects]
        of_image = torch.full_like(one.matched, background)
        of_image[: one.n_objects] = target.classes[index]
        classes.append(of_image)
        wanted.append(
            box_ops.encode(target.boxes[index], one.boxes[: one.n_objects], stage.weights)
        )
        is_object.append(one.matched >= 0)
    label, mask = torch.cat(classes), torch.cat(is_object)
    moved = of_class(deltas[mask], label[mask])
    n = max(len(label), 1)
    return {
        "class": F.cross_entropy(logits, label, reduction="sum") / n,
        "box": (moved - torch.cat(wanted)).abs().sum() / n,
    }


@torch.no_grad()
def _moved(
    boxes: list[Tensor],
    logits: Tensor,
    deltas: Tensor,
    stage: Stage,
    sizes: Sequence[tuple[int, int]],
) -> list[Tensor]:
    """The boxes as the likeliest class moves them, for the next stage."""
    likeliest = logits[:, :-1].argmax(dim=1)
    moved = box_ops.decode(of_class(deltas, likeliest), torch.cat(boxes), stage.weights)
    parts = moved.split([len(one) for one in boxes])
    return [box_ops.clip(part, size) for part, size in zip(parts, sizes, strict=True)]


def _best(
    scores: Tensor, deltas: Tensor, boxes: Tensor, size: tuple[int, int], stage: Stage
) -> Detections:
    """The surest objects of one image, each box once per class."""
    moved = box_ops.decode(deltas, boxes[:, None], stage.weights)  # (boxes, classes or 1, 4)
    n_classes = scores.shape[1] - 1
    moved = box_ops.clip(moved, size).expand(-1, n_classes, -1)
    index, classes = torch.where(scores[:, :-1] > LEAST_SCORE)
    found, score = moved[index, classes], scores[index, classes]
    usable = box_ops.area(found) > 0
    found, score, classes = found[usable], score[usable], classes[usable]
    kept = box_ops.nms_per_class(found, score, classes, NMS_LIMIT)[:N_DETECTIONS]
    return Detections(found[kept], classes[kept], score[kept], None)
