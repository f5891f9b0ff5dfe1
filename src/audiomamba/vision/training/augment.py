"""How an image and its target are changed before a model learns from them.

All is drawn from a generator that the caller gives, so that an image of a step is always the same.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from audiomamba.vision import boxes as box_ops
from audiomamba.vision.data.dataset import Target
from audiomamba.vision.data.images import normed, resize
from audiomamba.vision.records import Instances, boxes_around
from audiomamba.vision.segmenter import IGNORED
from audiomamba.vision.training.rand_augment import rand_augment
from audiomamba.vision.training.recipe import Augmentation

__all__ = ["augment", "flip", "plain"]

SMALLEST_SIDE = 1.0  # pixels; objects that are cut to less are left out
AREAS = (0.08, 1.0)  # of the image, that a part for classification has
FORMS = (3 / 4, 4 / 3)  # its width over its height
CROPS = 10  # tries to find one in which no class has nearly all
LARGEST_SHARE = 0.75  # of one class in a crop
ERASED_AREAS = (0.02, 1 / 3)
TEST_RATIO = 0.875  # of the shorter side, that a classifier sees of an image


def augment(
    image: Tensor, target: Target, how: Augmentation, rng: Generator
) -> tuple[Tensor, Target]:
    """Change an image and its target by chance.

    Args:
        image: (3, height, width) from 0 to 1.
        target: a class, (height, width) classes, or objects.
        how: what may be done.
        rng: decides what is.

    Returns:
        (3, *how.size), normed, and the target that belongs to it.

    Examples:
        >>> how = Augmentation(size=(32, 32), scale=(0.5, 2.0))
        >>> image, target = augment(torch.rand(3, 40, 50), 3, how, torch.Generator())
        >>> image.shape, target
        (torch.Size([3, 32, 32]), 3)
    """
    if how.resize == "random-area":
        image = _random_area(image, how, rng)
    else:
        image, target = _random_scale(image, target, how, rng)
    if _uniform(rng) < how.flip:
        image, target = flip(image, target)
    if how.rand_augment:
        image = rand_augment(image, how.rand_augment, rng)
    if how.colour:
        image = _recolour(image, how.colour, rng)
    image = normed(image)
    if _uniform(rng) < how.erase:
        image = _erase(image, rng)
    if how.resize == "random-area":
        return image, target
    return _padded(image, target, how.size)


def plain(image: Tensor, how: Augmentation) -> Tensor:
    """Bring an image to evaluate to the size that a classifier reads: its middle.

    Args:
        image: (3, height, width) from 0 to 1.
        how: for the size.

    Returns:
        (3, *how.size), normed.

    Examples:
        >>> plain(torch.rand(3, 40, 50), Augmentation(size=(32, 32))).shape
        torch.Size([3, 32, 32])
    """
    height, width = how.size
    factor = max(height / image.shape[1], width / image.shape[2]) / TEST_RATIO
    image = resize(image, _scaled(image, factor, at_least=how.size))
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return normed(image[:, top : top + height, left : left + width])


def flip(image: Tensor, target: Target) -> tuple[Tensor, Target]:
    """Mirror an image and its target, left to right.

    Args:
        image: (3, height, width).
        target: a class, (height, width) classes, or objects.

    Returns:
        The two, mirrored.

    Examples:
        >>> objects = Instances(torch.tensor([[0.0, 0.0, 2.0, 1.0]]), torch.tensor([0]))
        >>> flip(torch.zeros(3, 4, 8), objects)[1].boxes.tolist()
        [[6.0, 0.0, 8.0, 1.0]]
    """
    width = image.shape[2]
    if isinstance(target, Tensor):
        return image.flip(2), target.flip(1)
    if isinstance(target, Instances):
        left, top, right, bottom = target.boxes.unbind(dim=1)
        boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
        masks = None if target.masks is None else target.masks.flip(2)
        return image.flip(2), Instances(boxes, target.classes, masks)
    return image.flip(2), target


def _random_scale(
    image: Tensor, target: Target, how: Augmentation, rng: Generator
) -> tuple[Tensor, Target]:
    """Resize by a random factor, and cut out what fits the size."""
    low, high = how.scale
    longer, shorter = how.base or (max(how.size), min(how.size))
    sides = sorted(image.shape[1:])
    fits = min(longer / sides[1], shorter / sides[0])
    factor = fits * (low + (high - low) * _uniform(rng))
    size = _scaled(image, factor)
    image, target = resize(image, size), _resized(target, size, tuple(image.shape[1:]))
    spare = [max(have - want, 0) for have, want in zip(size, how.size, strict=True)]
    for _ in range(CROPS):
        top, left = (int(_uniform(rng) * (one + 1)) for one in spare)
        bottom, right = min(top + how.size[0], size[0]), min(left + how.size[1], size[1])
        cut = _cut(target, (top, left, bottom, right))
        if not isinstance(cut, Tensor) or _is_mixed(cut):
            break
    return image[:, top:bottom, left:right], cut


def _resized(target: Target, size: tuple[int, int], old: tuple[int, ...]) -> Target:
    if isinstance(target, Tensor):
        return resize(target[None], size, nearest=True)[0]
    if isinstance(target, Instances):
        down, across = size[0] / old[0], size[1] / old[1]
        boxes = target.boxes * target.boxes.new_tensor([across, down, across, down])
        masks = None if target.masks is None else resize(target.masks, size, nearest=True)
        return Instances(boxes, target.classes, masks)
    return target


def _cut(target: Target, part: tuple[int, int, int, int]) -> Target:
    """What of a target lies within (top, left, bottom, right)."""
    top, left, bottom, right = part
    if isinstance(target, Tensor):
        return target[top:bottom, left:right]
    if isinstance(target, Instances):
        masks = None if target.masks is None else target.masks[:, top:bottom, left:right]
        if masks is not None:
            boxes = boxes_around(masks)  # what is left of an object may need a smaller one
        else:
            boxes = target.boxes - target.boxes.new_tensor([left, top, left, top])
            boxes = box_ops.clip(boxes, (bottom - top, right - left))
        kept = ((boxes[:, 2:] - boxes[:, :2]) > SMALLEST_SIDE).all(dim=1)
        return Instances(boxes[kept], target.classes[kept], None if masks is None else masks[kept])
    return target


def _is_mixed(classes: Tensor) -> bool:
    """Whether no class has nearly all of a crop."""
    known = classes[classes != IGNORED]
    counts = known.unique(return_counts=True)[1]
    return len(counts) > 1 and (counts.max() / counts.sum()).item() < LARGEST_SHARE


def _padded(image: Tensor, target: Target, size: tuple[int, int]) -> tuple[Tensor, Target]:
    """Fill an image that is smaller than the size, to the right and below."""
    pad = (0, size[1] - image.shape[2], 0, size[0] - image.shape[1])
    image = F.pad(image, pad)
    if isinstance(target, Tensor):
        return image, F.pad(target, pad, value=IGNORED)
    if isinstance(target, Instances) and target.masks is not None:
        return image, Instances(target.boxes, target.classes, F.pad(target.masks, pad))
    return image, target


def _random_area(image: Tensor, how: Augmentation, rng: Generator) -> Tensor:
    """A part of random area and form, resized: what classifiers learn from."""
    height, width = image.shape[1:]
    for _ in range(CROPS):
        area = height * width * (AREAS[0] + (AREAS[1] - AREAS[0]) * _uniform(rng))
        low, high = (math.log(form) for form in FORMS)
        form = math.exp(low + (high - low) * _uniform(rng))
        rows, columns = round(math.sqrt(area / form)), round(math.sqrt(area * form))
        if 0 < rows <= height and 0 < columns <= width:
            break
    else:
        rows = columns = min(height, width)
    top, left = (int(_uniform(rng) * (n + 1)) for n in (height - rows, width - columns))
    return resize(image[:, top : top + rows, left : left + columns], how.size)


def _recolour(image: Tensor, most: float, rng: Generator) -> Tensor:
    """Change brightness, contrast and saturation."""
    brightness, contrast, saturation = (
        1 + most * (2 * _uniform(rng) - 1) for _ in ("brightness", "contrast", "saturation")
    )
    image = image * brightness
    image = image.mean() + contrast * (image - image.mean())
    grey = image.mean(dim=0, keepdim=True)
    return (grey + saturation * (image - grey)).clamp(0, 1)


def _erase(image: Tensor, rng: Generator) -> Tensor:
    """Put noise over a rectangle.

    Source: Zhong et al., "Random Erasing Data Augmentation" (2017).
    """
    height, width = image.shape[1:]
    low, high = ERASED_AREAS
    area = height * width * (low + (high - low) * _uniform(rng))
    form = math.exp(math.log(0.3) * (2 * _uniform(rng) - 1))
    rows = min(max(round(math.sqrt(area * form)), 1), height)
    columns = min(max(round(math.sqrt(area / form)), 1), width)
    top, left = (int(_uniform(rng) * (n + 1)) for n in (height - rows, width - columns))
    image = image.clone()
    image[:, top : top + rows, left : left + columns] = torch.randn(
        (3, rows, columns), generator=rng
    )
    return image


def _scaled(image: Tensor, factor: float, at_least: tuple[int, int] = (1, 1)) -> tuple[int, int]:
    height, width = (
        max(round(side * factor), least)
        for side, least in zip(image.shape[1:], at_least, strict=True)
    )
    return height, width


def _uniform(rng: Generator) -> float:
    return torch.rand((), generator=rng).item()
