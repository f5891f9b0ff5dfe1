"""Discs, squares and triangles on a dark and noisy ground, to try dense models out."""

import torch
from torch import Tensor

from audiomamba.vision.data.dataset import ImageSet
from audiomamba.vision.data.layouts import instances_of
from audiomamba.vision.records import Instances

__all__ = ["LABELS", "shapes"]

LABELS = ("disc", "square", "triangle")
GROUND = ("ground", *LABELS)
DARKEST_SHAPE = 0.4  # of each colour; the ground is darker


def shapes(task: str, n: int, side: int = 96, seed: int = 0) -> ImageSet:
    """Make images of one to four shapes.

    Args:
        task: "segment", with the ground as class 0, or "detect".
        n: how many.
        side: height and width in pixels.
        seed: which images; index i of a seed is always the same.

    Returns:
        The images.

    Examples:
        >>> image, target = shapes("detect", 4)[0]
        >>> image.shape, len(target.classes) >= 1
        (torch.Size([3, 96, 96]), True)
    """

    def read(index: int) -> tuple[Tensor, Tensor | Instances]:
        image, numbers, classes = _draw(side, seed * 1_000_003 + index)
        found = instances_of(numbers)
        shown = numbers[numbers > 0].unique() - 1  # a shape may lie below the others
        if task == "detect":
            return image, Instances(found.boxes, classes[shown], found.masks)
        per_pixel = torch.cat([torch.tensor([0]), classes + 1])
        return image, per_pixel[numbers]

    if task == "detect":
        return ImageSet("detect", LABELS, [f"{index}" for index in range(n)], read)
    return ImageSet("segment", GROUND, [f"{index}" for index in range(n)], read)


def _draw(side: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """An image, the number of the shape at each pixel (0 for none), and the shapes' classes."""
    rng = torch.Generator().manual_seed(seed)
    n = int(torch.randint(1, 5, (), generator=rng))
    classes = torch.randint(len(LABELS), (n,), generator=rng)
    numbers = torch.zeros(side, side, dtype=torch.long)
    image = (DARKEST_SHAPE * torch.rand(3, 1, 1, generator=rng)).expand(3, side, side).clone()
    for index, label in enumerate(classes.tolist()):
        radius = side * (0.1 + 0.13 * torch.rand((), generator=rng))
        centre = radius + (side - 2 * radius) * torch.rand(2, generator=rng)
        inside = _inside(LABELS[label], side, centre, radius)
        numbers[inside] = index + 1
        light = torch.rand(3, 1, generator=rng)
        image[:, inside] = DARKEST_SHAPE + (1 - DARKEST_SHAPE) * light
    image = image + 0.08 * torch.randn(image.shape, generator=rng)
    return image.clamp(0, 1), numbers, classes


def _inside(label: str, side: int, centre: Tensor, radius: Tensor) -> Tensor:
    """Which pixels a shape has."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    down, across = (y - centre[0]) / radius, (x - centre[1]) / radius
    if label == "disc":
        return down**2 + across**2 <= 1
    if label == "square":
        return torch.maximum(down.abs(), across.abs()) <= 0.85
    return (down.abs() <= 1) & (across.abs() <= (down + 1) / 2)
