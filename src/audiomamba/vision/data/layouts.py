"""Sets of images in the layouts in which they are given out."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from audiomamba.errors import DataError
from audiomamba.vision.data.dataset import ImageSet, image_of
from audiomamba.vision.data.images import find_images, read_image, read_map
from audiomamba.vision.records import Instances, boxes_around
from audiomamba.vision.segmenter import IGNORED

__all__ = ["read_ade20k", "read_camvid", "read_class_folders", "read_penn_fudan"]

ADE20K_CLASSES = 150
CAMVID_LABELS = (
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("sign", "fence", "car", "pedestrian", "bicyclist"),
)


def read_class_folders(folder: Path) -> ImageSet:
    """List images in one folder per class, as ImageNet's `train` and `val` are laid out.

    Args:
        folder: has a folder for each class.

    Returns:
        The images, for classification; classes sorted by name.

    Raises:
        DataError: there is no folder of a class, or one has no image.

    Examples:
        >>> from PIL import Image
        >>> for name in ("cat", "dog"):
        ...     Path("animals", name).mkdir(parents=True)
        ...     Image.new("RGB", (2, 2)).save(Path("animals", name, "1.png"))
        >>> read_class_folders(Path("animals")).labels
        ['cat', 'dog']
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder; expected one with a folder per class")
    labels = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if not labels:
        raise DataError(f"{folder}: has no folder; expected one per class")
    files = [
        (path, index) for index, name in enumerate(labels) for path in find_images(folder / name)
    ]
    names = [path.relative_to(folder).as_posix() for path, _ in files]
    return ImageSet("classify", labels, names, lambda i: (read_image(files[i][0]), files[i][1]))


def read_ade20k(folder: Path, split: str) -> ImageSet:
    """List ADE20K's 150 classes, as ADEChallengeData2016 is laid out.

    Args:
        folder: has `images/training`, `annotations/training` and the like, and objectInfo150.txt.
        split: "training" or "validation".

    Returns:
        The images, for segmentation; number 0 of the files, "other", is ignored.

    Raises:
        DataError: a folder is missing, or an image has no annotation.
    """
    images, maps = folder / "images" / split, folder / "annotations" / split
    info = folder / "objectInfo150.txt"
    labels = [f"class {index + 1}" for index in range(ADE20K_CLASSES)]
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()[1:]
        labels = [line.split("\t")[-1].strip() for line in lines if line.strip()]
        if len(labels) != ADE20K_CLASSES:
            raise DataError(f"{info}: names {len(labels)} classes; expected {ADE20K_CLASSES}")
    # 0 is "other": 1 to 150 become 0 to 149.
    return _maps(
        images, maps, labels, lambda numbers: torch.where(numbers == 0, IGNORED, numbers - 1)
    )


def read_camvid(folder: Path, split: str) -> ImageSet:
    """List CamVid's 11 classes, in the layout of SegNet's authors.

    Args:
        folder: has `train` and `trainannot`, `val` and `valannot`, `test` and `testannot`.
        split: one of these.

    Returns:
        The images, for segmentation; number 11, "void", is ignored.

    Raises:
        DataError: a folder is missing, or an image has no annotation.
    """
    n = len(CAMVID_LABELS)
    return _maps(
        folder / split,
        folder / f"{split}annot",
        CAMVID_LABELS,
        lambda numbers: torch.where(numbers == n, IGNORED, numbers),
    )


def read_penn_fudan(folder: Path, indices: Sequence[int] | None = None) -> ImageSet:
    """List the pedestrians of Penn-Fudan.

    Args:
        folder: has `PNGImages` and `PedMasks`, whose pixels are the numbers of the pedestrians.
        indices: which images, sorted by name; None for all 170.

    Returns:
        The images, for detection, with masks; one class.

    Raises:
        DataError: a folder is missing, or an image has no mask.
    """
    images = find_images(folder / "PNGImages")
    chosen = images if indices is None else [images[index] for index in indices]
    pairs = [(path, _beside(path, folder / "PedMasks", f"{path.stem}_mask.png")) for path in chosen]

    def read(index: int) -> tuple[Tensor, Instances]:
        path, mask = pairs[index]
        numbers = read_map(mask)
        return image_of(path, numbers.shape, "mask"), instances_of(numbers)

    return ImageSet("detect", ["pedestrian"], [path.name for path, _ in pairs], read)


def instances_of(numbers: Tensor) -> Instances:
    """The objects of a map (height, width) that has each one's number, 0 for none; class 0 all."""
    found = numbers.unique()
    masks = numbers[None] == found[found > 0][:, None, None]
    return Instances(boxes_around(masks), torch.zeros(len(masks), dtype=torch.long), masks)


def _maps(
    images: Path, maps: Path, labels: Sequence[str], to_classes: Callable[[Tensor], Tensor]
) -> ImageSet:
    """Images beside maps of the same names."""
    paths = find_images(images)
    pairs = [(path, _beside(path, maps, f"{path.stem}.png")) for path in paths]

    def read(index: int) -> tuple[Tensor, Tensor]:
        path, map_path = pairs[index]
        classes = to_classes(read_map(map_path))
        wrong = classes[(classes >= len(labels)) & (classes != IGNORED)]
        if len(wrong):
            raise DataError(f"{map_path}: has a class beyond the {len(labels)} of this set")
        return image_of(path, classes.shape, "annotation"), classes

    return ImageSet("segment", labels, [path.name for path in paths], read)


def _beside(image: Path, folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise DataError(f"{image}: has no annotation; expected {path}")
    return path
