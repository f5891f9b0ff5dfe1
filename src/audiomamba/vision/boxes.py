"""Boxes: their overlap, their distance to one another, and the choice among those that overlap.

A box is (left, top, right, bottom) in pixels of the image; right and bottom are not part of it, so
that its width is right - left.
"""

import math

import torch
from torch import Tensor

from audiomamba.errors import ConfigError

__all__ = ["area", "clip", "decode", "encode", "iou", "nms", "nms_per_class"]

LARGEST_GROWTH = math.log(1000 / 16)  # of a side in one step; keeps the exponential finite


def area(boxes: Tensor) -> Tensor:
    """The area of each box.

    Args:
        boxes: (..., 4).

    Returns:
        (...), square pixels; 0 where a side is negative.

    Examples:
        >>> area(torch.tensor([[0.0, 0.0, 2.0, 3.0]])).tolist()
        [6.0]
    """
    sides: Tensor = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides.prod(dim=-1)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of each box with each other.

    Args:
        first: (n, 4).
        second: (m, 4).

    Returns:
        (n, m), from 0 to 1; 0 where both boxes are empty.

    Examples:
        >>> iou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0]])).tolist()
        [[0.3333333432674408]]
    """
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = area(torch.cat([low, high], dim=-1))
    union = area(first)[:, None] + area(second)[None] - shared
    return torch.where(union > 0, shared / union, 0.0)


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut boxes at the border of an image.

    Args:
        boxes: (..., 4).
        size: (height, width) of the image.

    Returns:
        (..., 4).

    Examples:
        >>> clip(torch.tensor([-1.0, 2.0, 9.0, 5.0]), (4, 8)).tolist()
        [0.0, 2.0, 8.0, 4.0]
    """
    height, width = size
    limit = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limit)


def encode(boxes: Tensor, anchors: Tensor, weights: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Say how boxes lie to anchors: what a regressor learns.

    Args:
        boxes: (n, 4), with positive sides.
        anchors: (n, 4), with positive sides.
        weights: of the shift of the centre and of the logarithm of the growth.

    Returns:
        (n, 4): shift right and down in sides of the anchor, growth in width and height.

    Source: Girshick et al., "Rich feature hierarchies" (2014), appendix C.

    Examples:
        >>> box = torch.tensor([[2.0, 0.0, 6.0, 4.0]])
        >>> encode(box, torch.tensor([[0.0, 0.0, 4.0, 4.0]])).tolist()
        [[0.5, 0.0, 0.0, 0.0]]
    """
    centre, side = _centre_and_side(boxes)
    from_centre, from_side = _centre_and_side(anchors)
    shift = (centre - from_centre) / from_side * weights[0]
    growth = (side / from_side).log() * weights[1]
    return torch.cat([shift, growth], dim=-1)


def decode(deltas: Tensor, anchors: Tensor, weights: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Move anchors as a regressor says: the inverse of `encode`.

    Args:
        deltas: (..., 4).
        anchors: (..., 4).
        weights: as of encode.

    Returns:
        (..., 4) boxes. One side grows at most 62.5 times.

    Examples:
        >>> anchor = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
        >>> decode(torch.tensor([[0.5, 0.0, 0.0, 0.0]]), anchor).tolist()
        [[2.0, 0.0, 6.0, 4.0]]
    """
    from_centre, from_side = _centre_and_side(anchors)
    centre = from_centre + deltas[..., :2] / weights[0] * from_side
    side = from_side * (deltas[..., 2:] / weights[1]).clamp(max=LARGEST_GROWTH).exp()
    return torch.cat([centre - side / 2, centre + side / 2], dim=-1)


def nms(boxes: Tensor, scores: Tensor, limit: float) -> Tensor:
    """Non-maximum suppression: drop each box that overlaps a kept one with a higher score.

    Args:
        boxes: (n, 4).
        scores: (n,).
        limit: intersection over union above which two boxes count as the same.

    Returns:
        (kept,) indices of those that stay, the highest score first.

    Raises:
        ConfigError: limit is not from 0 to 1.

    Examples:
        >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 5.0], [9.0, 9.0, 11.0, 11]])
        >>> nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5).tolist()
        [1, 2]
    """
    if not 0 <= limit <= 1:
        raise ConfigError(f"limit is {limit}; expected an intersection over union from 0 to 1")
    order = scores.argsort(descending=True, stable=True)
    drops = (iou(boxes[order], boxes[order]) > limit).triu(1)  # [i, j]: i, if kept, drops j
    kept = torch.ones_like(order, dtype=torch.bool)
    while True:
        # Whether a box stays depends on those before it alone: after k rounds the first k are
        # settled, and what no longer changes is what going through them one by one gives.
        settled = ~(drops & kept[:, None]).any(dim=0)
        if torch.equal(settled, kept):
            return order[kept]
        kept = settled


def nms_per_class(boxes: Tensor, scores: Tensor, classes: Tensor, limit: float) -> Tensor:
    """Non-maximum suppression within each class (or each level of a pyramid).

    Args:
        boxes: (n, 4).
        scores: (n,).
        classes: (n,) integers.
        limit: as of nms.

    Returns:
        (kept,) indices of those that stay, the highest score first.

    Raises:
        ConfigError: limit is not from 0 to 1.

    Examples:
        >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]]).expand(2, 4)
        >>> nms_per_class(boxes, torch.tensor([0.5, 0.9]), torch.tensor([0, 1]), 0.5).tolist()
        [1, 0]
    """
    # Classes are moved so far apart that boxes of two of them never touch.
    span = boxes.max() - boxes.min() + 1 if len(boxes) else boxes.new_zeros(())
    return nms(boxes + (classes * span)[:, None].to(boxes), scores, limit)


def _centre_and_side(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
