"""How right a dense model is: intersection over union of classes, average precision of objects."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiomamba.errors import MissingDependencyError
from audiomamba.vision.records import Detections, Instances
from audiomamba.vision.segmenter import IGNORED

__all__ = ["Confusion", "average_precision"]


class Confusion:
    """Counts of which class was taken for which, over many images.

    Args:
        n_classes: how many there are.

    Examples:
        >>> counts = Confusion(2)
        >>> counts.add(torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1, 1, 255]]))
        >>> counts.scores()["mean_iou"]
        0.5
    """

    def __init__(self, n_classes: int) -> None:
        self.counts = torch.zeros(n_classes, n_classes, dtype=torch.int64)

    def add(self, found: Tensor, truth: Tensor) -> None:
        """Count the pixels of an image.

        Args:
            found: (height, width) classes.
            truth: (height, width) classes, 255 where nothing is known.
        """
        n = len(self.counts)
        known = truth != IGNORED
        pairs = truth[known] * n + found[known]
        self.counts += pairs.bincount(minlength=n * n).view(n, n).cpu()

    def scores(self) -> dict[str, float]:
        """Mean intersection over union and accuracy over the classes that occur, and of pixels.

        Returns:
            "mean_iou", "mean_accuracy", "pixel_accuracy", from 0 to 1.
        """
        counts = self.counts.double()
        right, truth, found = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
        union = truth + found - right
        return {
            "mean_iou": (right / union)[union > 0].mean().item(),
            "mean_accuracy": (right / truth)[truth > 0].mean().item(),
            "pixel_accuracy": (right.sum() / counts.sum()).item(),
        }


def average_precision(
    found: Sequence[Detections], truth: Sequence[Instances], n_classes: int
) -> dict[str, float]:
    """COCO's average precision of boxes and masks.

    Args:
        found: what a model has found in each image, with masks.
        truth: what is in each, with masks.
        n_classes: how many classes there are.

    Returns:
        "box_ap", "box_ap50", "mask_ap", "mask_ap50", from 0 to 1; -1 if there is no object.

    Raises:
        MissingDependencyError: faster-coco-eval, which computes them, is not installed.

    Examples:
        >>> mask = torch.zeros(1, 64, 64, dtype=torch.bool)
        >>> mask[:, 8:40, 8:40] = True
        >>> truth = Instances(torch.tensor([[8.0, 8, 40, 40]]), torch.tensor([0]), mask)
        >>> found = Detections(truth.boxes, truth.classes, torch.tensor([0.9]), mask)
        >>> round(average_precision([found], [truth], 1)["mask_ap"], 3)
        1.0
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise MissingDependencyError("faster-coco-eval", "vision", "scores of objects") from error
    with contextlib.redirect_stdout(io.StringIO()):  # the library reports its steps
        reference = COCO(_as_coco(truth, n_classes))
        entries = [e for i, one in enumerate(found) for e in _entries(one, i, one.scores.tolist())]
        if not entries or not reference.anns:
            nothing = 0.0 if reference.anns else -1.0
            return dict.fromkeys(("box_ap", "box_ap50", "mask_ap", "mask_ap50"), nothing)
        results = reference.loadRes(entries)
        out = {}
        for name, kind in (("box", "bbox"), ("mask", "segm")):
            scored = COCOeval_faster(reference, results, kind, print_function=_say_nothing)
            scored.evaluate()
            scored.accumulate()
            scored.summarize()
            out[f"{name}_ap"], out[f"{name}_ap50"] = map(float, scored.stats[:2])
    return out


def _say_nothing(*_: object) -> None:
    """What the library prints with."""


def _as_coco(truth: Sequence[Instances], n_classes: int) -> dict[str, Any]:
    sizes = [(0, 0) if one.masks is None else one.masks.shape[1:] for one in truth]
    entries = [e for i, one in enumerate(truth) for e in _entries(one, i, None)]
    return {
        "images": [{"id": i, "height": h, "width": w} for i, (h, w) in enumerate(sizes)],
        "categories": [{"id": index, "name": str(index)} for index in range(n_classes)],
        "annotations": [
            {**one, "id": index + 1, "iscrowd": 0} for index, one in enumerate(entries)
        ],
    }


def _entries(
    one: Instances | Detections, image: int, scores: list[float] | None
) -> list[dict[str, Any]]:
    """The objects of an image in COCO's form."""
    from faster_coco_eval import mask as runs

    out = []
    masks = torch.zeros(0) if one.masks is None else one.masks
    for index, (box, label, mask) in enumerate(
        zip(one.boxes.tolist(), one.classes.tolist(), masks, strict=True)
    ):
        left, top, right, bottom = box
        encoded = runs.encode(np.asfortranarray(mask.cpu().numpy().astype(np.uint8)))
        entry = {
            "image_id": image,
            "category_id": label,
            "bbox": [left, top, right - left, bottom - top],
            "segmentation": encoded,
            "area": float(mask.sum()),
        }
        out.append(entry if scores is None else {**entry, "score": scores[index]})
    return out
