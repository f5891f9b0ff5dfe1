"""Pictures of what a model has found in an image."""

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from audiomamba.atomic import replacing
from audiomamba.vision.records import Detections

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["colour_of", "draw_detections", "draw_map"]

OPACITY = 0.55
GOLDEN = 0.618034  # turns that keep the colours of neighbouring classes apart


def colour_of(index: int) -> tuple[int, int, int]:
    """A colour for a class, the same in every picture.

    Args:
        index: the class.

    Returns:
        Red, green, blue from 0 to 255.

    Examples:
        >>> colour_of(0)
        (229, 57, 57)
    """
    red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN % 1, 0.75, 0.9)
    return int(red * 255), int(green * 255), int(blue * 255)


def draw_map(image: Tensor, classes: Tensor, path: Path, *, background: int | None = None) -> None:
    """Lay the colours of classes over an image.

    Args:
        image: (3, height, width) from 0 to 1.
        classes: (height, width).
        path: a PNG file, which is overwritten.
        background: a class over which no colour is laid.

    Raises:
        OSError: it cannot be written.
    """
    colours = torch.tensor([colour_of(i) for i in range(int(classes.max()) + 1)]) / 255
    laid = colours[classes].permute(2, 0, 1)
    mixed = (1 - OPACITY) * image + OPACITY * laid
    if background is not None:
        mixed = torch.where(classes == background, image, mixed)
    _write(mixed, path)


def draw_detections(image: Tensor, found: Detections, labels: Sequence[str], path: Path) -> None:
    """Draw objects into an image: their masks, boxes and names.

    Args:
        image: (3, height, width) from 0 to 1.
        found: the objects.
        labels: the names of the classes.
        path: a PNG file, which is overwritten.

    Raises:
        OSError: it cannot be written.
    """
    from PIL import ImageDraw

    shown = image.clone()
    for index in range(len(found)):
        if found.masks is not None:
            mask = found.masks[index]
            colour = torch.tensor(colour_of(int(found.classes[index])))[:, None] / 255
            shown[:, mask] = (1 - OPACITY) * shown[:, mask] + OPACITY * colour
    picture = _picture(shown)
    draw = ImageDraw.Draw(picture)
    for box, label, score in zip(
        found.boxes.tolist(), found.classes.tolist(), found.scores.tolist(), strict=True
    ):
        draw.rectangle(box, outline=colour_of(label), width=2)
        draw.text(
            (box[0] + 3, box[1] + 2),
            f"{labels[label]} {score:.2f}",
            fill="white",
            stroke_width=2,
            stroke_fill="black",
        )
    with replacing(path) as part:
        picture.save(part, "PNG")


def _write(image: Tensor, path: Path) -> None:
    with replacing(path) as part:
        _picture(image).save(part, "PNG")


def _picture(image: Tensor) -> "Image":
    from PIL.Image import fromarray

    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous()
    return fromarray(pixels.numpy())
