"""What training makes small: a model's distance to the labels, and to what its teachers say."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba.recipes import Distillation

__all__ = ["Loss", "label_loss", "smooth", "soften", "spread", "with_teachers"]

Loss = Literal["bce", "ce"]


def smooth(target: Tensor, share: float) -> Tensor:
    """Replace a share of label vectors by the same value for every class.

    Args:
        target: (batch, classes).
        share: 0 for nothing.

    Returns:
        (batch, classes).
    """
    return target * (1 - share) + share / target.shape[-1]


def spread(target: Tensor) -> Tensor:
    """Share out what a label vector lacks to a sum of 1 among all classes.

    A clip that is none of the classes, whose vector is all 0, thus asks for even scores.

    Args:
        target: (batch, classes), sums of at most 1.

    Returns:
        (batch, classes), sums of 1.

    Source: Hendrycks, Mazeika, Dietterich, "Deep Anomaly Detection with Outlier Exposure" (2019).
    """
    return target + (1 - target.sum(dim=-1, keepdim=True)) / target.shape[-1]


def label_loss(logits: Tensor, target: Tensor, loss: Loss) -> Tensor:
    """Compare a model's logits with labels.

    Args:
        logits: (batch, classes).
        target: (batch, classes), from 0 to 1.
        loss: the recipe's.

    Returns:
        The mean, a scalar.
    """
    if loss == "bce":
        return F.binary_cross_entropy_with_logits(logits, target)
    return F.cross_entropy(logits, spread(target))


def soften(logits: Tensor, loss: Loss, temperature: float) -> Tensor:
    """Turn teachers' logits into what is learned from them.

    Args:
        logits: (..., classes).
        loss: the recipe's.
        temperature: above 1 for softer scores.

    Returns:
        (..., classes) from 0 to 1; for the loss "ce" with a sum of 1.
    """
    cooled = logits / temperature
    return cooled.sigmoid() if loss == "bce" else cooled.softmax(dim=-1)


def with_teachers(
    by_labels: Tensor, logits: Tensor, taught: Tensor, loss: Loss, settings: Distillation
) -> Tensor:
    """Add to a loss what the teachers have to say.

    Args:
        by_labels: the mean loss against the labels, a scalar.
        logits: (batch, classes), the student's.
        taught: (batch, classes), what `soften` gives of the teachers' logits, or mixtures of it;
            less, down to 0, for clips of which they say nothing.
        loss: the recipe's.
        settings: weight and temperature.

    Returns:
        The loss, a scalar.
    """
    if loss == "bce":
        by_teachers = F.binary_cross_entropy_with_logits(logits, taught)
    else:
        wanted = spread(taught).clamp(min=0)  # sums of 1 are rounded
        found = torch.log_softmax(logits / settings.temperature, dim=-1)
        divergence = F.kl_div(found, wanted, reduction="batchmean")
        by_teachers = settings.temperature**2 * divergence
    return (1 - settings.weight) * by_labels + settings.weight * by_teachers
