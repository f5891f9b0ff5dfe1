"""What is in an image: the records that dense models learn from and give."""

from dataclasses import dataclass

import torch
from torch import Tensor

from audiomamba.errors import ConfigError

__all__ = ["Detections", "Instances", "boxes_around"]


def boxes_around(masks: Tensor) -> Tensor:
    """The smallest boxes around masks.

    Args:
        masks: (n, height, width) bool.

    Returns:
        (n, 4) left, top, right, bottom; all 0 around a mask without a pixel.

    Examples:
        >>> import torch
        >>> masks = torch.zeros(1, 4, 6, dtype=torch.bool)
        >>> masks[0, 1:3, 2:6] = True
        >>> boxes_around(masks).tolist()
        [[2.0, 1.0, 6.0, 3.0]]
    """
    sides = []
    for pixels in (masks.any(dim=1), masks.any(dim=2)):  # columns, then rows
        some = pixels.any(dim=1)
        first = pixels.int().argmax(dim=1)
        after = pixels.shape[1] - pixels.flip(1).int().argmax(dim=1)
        sides.append((first * some, after * some))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], dim=1).float()


@dataclass(frozen=True)
class Instances:
    """The objects of one image, as a person has marked them.

    Args:
        boxes: (n, 4) left, top, right, bottom in pixels.
        classes: (n,) integers from 0.
        masks: (n, height, width) bool, which pixels belong to each; None if not known.

    Raises:
        ConfigError: the shapes do not belong together.

    Examples:
        >>> import torch
        >>> Instances(torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([2])).classes.tolist()
        [2]
    """

    boxes: Tensor
    classes: Tensor
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        n = len(self.classes)
        if self.boxes.shape != (n, 4):
            raise ConfigError(
                f"boxes have shape {tuple(self.boxes.shape)} beside {n} classes; "
                f"expected ({n}, 4): left, top, right, bottom"
            )
        if self.masks is not None and (self.masks.ndim != 3 or len(self.masks) != n):
            raise ConfigError(
                f"masks have shape {tuple(self.masks.shape)} beside {n} classes; "
                f"expected ({n}, height, width)"
            )


@dataclass(frozen=True)
class Detections:
    """What a model has found in one image, the surest first.

    Args:
        boxes: (n, 4) left, top, right, bottom in pixels.
        classes: (n,) integers from 0.
        scores: (n,) from 0 to 1.
        masks: (n, height, width) bool; None if the model gives none.

    Examples:
        >>> import torch
        >>> found = Detections(torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0), None)
        >>> len(found)
        0
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor
    masks: Tensor | None

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> "Detections":
        """Leave out what has a lower score."""
        kept = self.scores >= threshold
        masks = None if self.masks is None else self.masks[kept]
        return Detections(self.boxes[kept], self.classes[kept], self.scores[kept], masks)
