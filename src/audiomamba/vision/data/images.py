"""Images: read from files, normed as the released models expect, and brought to another size."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba.errors import DataError, MissingDependencyError

__all__ = ["SUFFIXES", "find_images", "normed", "read_image", "read_map", "resize"]

MEAN = (0.485, 0.456, 0.406)  # of ImageNet, red, green, blue
STD = (0.229, 0.224, 0.225)
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def read_image(path: str | os.PathLike[str]) -> Tensor:
    """Read an image file.

    Args:
        path: a JPEG, PNG, WebP, TIFF or BMP file.

    Returns:
        (3, height, width) red, green, blue from 0 to 1, turned as the camera says.

    Raises:
        DataError: the file cannot be read, or has more than 89 million pixels.
        MissingDependencyError: pillow is not installed.

    Examples:
        >>> from PIL import Image
        >>> Image.new("RGB", (4, 2), (255, 0, 0)).save("red.png")
        >>> read_image("red.png")[:, 0, 0]
        tensor([1., 0., 0.])
    """
    pixels = _read(Path(path), "RGB")
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def read_map(path: str | os.PathLike[str]) -> Tensor:
    """Read an image file whose pixels are numbers of classes or objects.

    Args:
        path: a PNG file with a palette or in levels of grey.

    Returns:
        (height, width) integers.

    Raises:
        DataError: the file cannot be read, or is in colour.
        MissingDependencyError: pillow is not installed.

    Examples:
        >>> from PIL import Image
        >>> Image.new("L", (3, 1), 7).save("map.png")
        >>> read_map("map.png").tolist()
        [[7, 7, 7]]
    """
    pixels = _read(Path(path), None)
    if pixels.ndim != 2:
        raise DataError(f"{path}: is in colour; expected one number for each pixel")
    return torch.from_numpy(pixels.astype(np.int64))


def normed(image: Tensor) -> Tensor:
    """Bring an image to the mean and deviation that released models have learnt with.

    Args:
        image: (..., 3, height, width) from 0 to 1.

    Returns:
        The same shape.

    Examples:
        >>> normed(torch.zeros(3, 1, 1)).flatten()
        tensor([-2.1179, -2.0357, -1.8044])
    """
    mean, std = (image.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (image - mean) / std


def resize(image: Tensor, size: tuple[int, int], *, nearest: bool = False) -> Tensor:
    """Bring an image or a map to another size.

    Args:
        image: (channels, height, width).
        size: (height, width) wanted.
        nearest: take the nearest pixel, as for numbers of classes; else bilinear, with
            antialiasing.

    Returns:
        (channels, height, width), in the dtype given.

    Examples:
        >>> resize(torch.ones(3, 4, 4), (2, 8)).shape
        torch.Size([3, 2, 8])
    """
    if tuple(image.shape[1:]) == size:
        return image
    batch = image[None].float()
    if nearest:
        return F.interpolate(batch, size, mode="nearest-exact")[0].to(image.dtype)
    return F.interpolate(batch, size, mode="bilinear", antialias=True)[0].to(image.dtype)


def find_images(folder: Path) -> list[Path]:
    """Find the image files of a folder and its folders, by their names' endings.

    Args:
        folder: where to look.

    Returns:
        Their paths, sorted.

    Raises:
        DataError: there is no such folder, or it has no image.

    Examples:
        >>> from PIL import Image
        >>> Path("photos").mkdir()
        >>> Image.new("RGB", (1, 1)).save("photos/a.png")
        >>> [path.name for path in find_images(Path("photos"))]
        ['a.png']
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder; expected one with images")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(f"{folder}: has no image; expected files that end in {', '.join(SUFFIXES)}")
    return found


def _read(path: Path, mode: str | None) -> Any:
    """The pixels of a file as an array, converted to a mode of pillow's."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise MissingDependencyError("pillow", "vision", "reading images") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                turned = ImageOps.exif_transpose(image)
                return np.array(turned if mode is None else turned.convert(mode))
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: is no image that can be read") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: has too many pixels; make it smaller first") from error
    except (OSError, ValueError, SyntaxError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read: {reason}") from error
