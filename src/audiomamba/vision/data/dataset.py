"""Sets of images, listed once and read one by one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from audiomamba.errors import DataError
from audiomamba.vision.data.images import read_image
from audiomamba.vision.records import Instances

__all__ = ["ImageSet", "Target"]

Target = int | Tensor | Instances  # a class; a class for each pixel; objects


@dataclass(frozen=True)
class ImageSet:
    """Images, and what is in them.

    Args:
        task: "classify" gives a class, "segment" (height, width) classes with 255 where nothing is
            known, "detect" objects, "segment-sound" (mels, frames) classes.
        labels: the names of the classes.
        names: a name for each image, a path below the set's folder.
        read: reads the image of an index, (3, height, width) from 0 to 1, or the features of a
            sound, (frames, mels), and its target.

    Raises:
        DataError: the set is empty.

    Examples:
        >>> import torch
        >>> white = ImageSet("classify", ["white"], ["a"], lambda index: (torch.ones(3, 2, 2), 0))
        >>> len(white), white[0][1]
        (1, 0)
    """

    task: Literal["classify", "segment", "detect", "segment-sound"]
    labels: Sequence[str]
    names: Sequence[str]
    read: Callable[[int], tuple[Tensor, Target]]

    def __post_init__(self) -> None:
        if not self.names:
            raise DataError("the set has no image")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.read(index)


def image_of(path: Path, size: Sequence[int], what: str) -> Tensor:
    """Read the image that belongs to a map of a size; DataError if its own is another."""
    image = read_image(path)
    if tuple(image.shape[1:]) != tuple(size):
        found, wanted = (" by ".join(map(str, one)) for one in (image.shape[1:], size))
        raise DataError(f"{path}: is {found} pixels, but its {what} is {wanted}")
    return image
