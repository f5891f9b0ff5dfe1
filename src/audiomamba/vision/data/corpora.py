"""The sets of images that are known by name, each in the layout in which it is given out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.vision.data.coco import read_coco
from audiomamba.vision.data.dataset import ImageSet
from audiomamba.vision.data.layouts import (
    read_ade20k,
    read_camvid,
    read_class_folders,
    read_penn_fudan,
)
from audiomamba.vision.data.mixtures import mixtures
from audiomamba.vision.data.shapes import shapes

__all__ = ["CORPORA", "ImageCorpus", "open_images"]

Split = Literal["training", "validation"]
N_DRAWN = {"training": 2000, "validation": 100}


@dataclass(frozen=True)
class ImageCorpus:
    """A set of images that is known by name.

    Args:
        layout: what its folder has, in words; "" if it is drawn and needs none.
        read: reads a split of it.
        license: under which it is given out.

    Examples:
        >>> CORPORA["camvid"].license
        'CC BY-NC 4.0'
    """

    layout: str
    read: Callable[[Path, Split], ImageSet]
    license: str


def open_images(name: str, folder: Path | None, split: Split, task: str) -> ImageSet:
    """Read a split of a known set.

    Args:
        name: one of CORPORA.
        folder: where it lies; None for one that is drawn.
        split: which part.
        task: what is learnt from it, as ImageSet names it.

    Returns:
        The images.

    Raises:
        UnknownNameError: there is no such set.
        ConfigError: it needs a folder, or does not suit the task.
        DataError: the folder is not laid out as expected.

    Examples:
        >>> len(open_images("shapes", None, "validation", "detect"))
        100
    """
    n, seed = N_DRAWN[split], int(split == "validation")
    if name == "shapes":
        return shapes(task, n, seed=seed)
    if name == "sounds":
        images = mixtures(n, seed)
    elif name not in CORPORA:
        raise UnknownNameError("set of images", name, [*CORPORA, "shapes", "sounds"])
    elif folder is None:
        raise ConfigError(f"{name} needs its folder, with {CORPORA[name].layout}")
    else:
        images = CORPORA[name].read(folder, split)
    if images.task != task:
        raise ConfigError(f"{name} is a set to {images.task}; the recipe is one to {task}")
    return images


def _ade20k(folder: Path, split: Split) -> ImageSet:
    return read_ade20k(folder, split)


def _camvid(folder: Path, split: Split) -> ImageSet:
    return read_camvid(folder, {"training": "train", "validation": "val"}[split])


def _coco(folder: Path, split: Split) -> ImageSet:
    name = {"training": "train2017", "validation": "val2017"}[split]
    return read_coco(folder / "annotations" / f"instances_{name}.json", folder / name)


def _imagenet(folder: Path, split: Split) -> ImageSet:
    return read_class_folders(folder / {"training": "train", "validation": "val"}[split])


def _penn_fudan(folder: Path, split: Split) -> ImageSet:
    # There is no official split: every fifth image is held out.
    n = len(list((folder / "PNGImages").glob("*.png")))
    held_out = split == "validation"
    return read_penn_fudan(folder, [i for i in range(n) if (i % 5 == 0) == held_out])


CORPORA: Mapping[str, ImageCorpus] = {
    "ade20k": ImageCorpus("images/ and annotations/, of ADEChallengeData2016", _ade20k, "BSD-3"),
    "camvid": ImageCorpus("train/, trainannot/, val/ and valannot/", _camvid, "CC BY-NC 4.0"),
    "coco": ImageCorpus("annotations/, train2017/ and val2017/", _coco, "CC BY 4.0"),
    "imagenet": ImageCorpus("train/ and val/, a folder per class", _imagenet, "non-commercial"),
    "penn_fudan": ImageCorpus("PNGImages/ and PedMasks/", _penn_fudan, "unknown"),
}
