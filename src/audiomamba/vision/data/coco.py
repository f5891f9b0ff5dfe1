"""COCO's objects: a JSON file of annotations beside a folder of images."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiomamba.errors import DataError, MissingDependencyError
from audiomamba.vision.data.dataset import ImageSet, image_of
from audiomamba.vision.records import Instances

__all__ = ["read_coco"]


def read_coco(annotations: Path, images: Path) -> ImageSet:
    """List images with objects, as COCO's files describe them.

    Crowds, which stand for many objects at once, are left out, and so are images without objects.

    Args:
        annotations: such as `annotations/instances_train2017.json`.
        images: the folder of its images, such as `train2017`.

    Returns:
        The images, for detection, with masks; classes in the order of their numbers in the file.

    Raises:
        DataError: a file is missing or not what it should be.
        MissingDependencyError: faster-coco-eval, which reads the masks, is not installed.
    """
    found = _load(annotations)
    categories = sorted(found["categories"], key=lambda one: one["id"])
    index_of = {one["id"]: index for index, one in enumerate(categories)}
    objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for one in found["annotations"]:
        _, _, width, height = one["bbox"]
        if not one.get("iscrowd") and width > 0 and height > 0:
            objects[one["image_id"]].append(one)
    listed = [one for one in found["images"] if one["id"] in objects]

    def read(index: int) -> tuple[Tensor, Instances]:
        about = listed[index]
        size = (about["height"], about["width"])
        image = image_of(images / about["file_name"], size, "entry in the annotations")
        return image, _instances(objects[about["id"]], index_of, size)

    names = [one["file_name"] for one in listed]
    if not names:
        raise DataError(f"{annotations}: has no image with an object")
    return ImageSet("detect", [one["name"] for one in categories], names, read)


def _instances(
    objects: list[dict[str, Any]], index_of: dict[int, int], size: tuple[int, int]
) -> Instances:
    boxes = torch.tensor([one["bbox"] for one in objects], dtype=torch.float32)
    boxes[:, 2:] += boxes[:, :2]  # the file has width and height
    classes = torch.tensor([index_of[one["category_id"]] for one in objects])
    masks = torch.stack([_mask(one["segmentation"], size) for one in objects])
    return Instances(boxes, classes, masks)


def _mask(segmentation: Any, size: tuple[int, int]) -> Tensor:
    """The pixels of a list of polygons, or of run lengths."""
    try:
        from faster_coco_eval import mask
    except ImportError as error:
        raise MissingDependencyError("faster-coco-eval", "vision", "reading COCO") from error
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        runs = mask.frPyObjects(segmentation, *size) if isinstance(counts, list) else segmentation
    else:
        runs = mask.merge(mask.frPyObjects(segmentation, *size))
    return torch.from_numpy(np.asarray(mask.decode(runs))).bool()


def _load(annotations: Path) -> dict[str, Any]:
    try:
        found = json.loads(annotations.read_text(encoding="utf-8"))
        missing = {"images", "annotations", "categories"} - found.keys()
    except OSError as error:
        raise DataError(f"{annotations}: cannot be read: {error.strerror}") from error
    except (ValueError, AttributeError) as error:
        raise DataError(f"{annotations}: is not a JSON file of COCO's form") from error
    if missing:
        raise DataError(f"{annotations}: has no {' and no '.join(sorted(missing))}")
    return found  # type: ignore[no-any-return]
