"""Which candidate boxes stand for which object, and which of them a step learns from."""

import torch
from torch import Tensor

from audiomamba.vision.boxes import iou

__all__ = ["match", "sample"]

BACKGROUND, UNDECIDED = -1, -2


def match(
    candidates: Tensor, objects: Tensor, *, at_least: float, below: float, best_too: bool = False
) -> Tensor:
    """Assign to each candidate box the object that it overlaps most.

    Args:
        candidates: (n, 4).
        objects: (m, 4).
        at_least: intersection over union from which a candidate stands for an object.
        below: the one below which it is background; between the two it is left out.
        best_too: let the candidates that overlap an object most stand for it, however little.

    Returns:
        (n,) index of the object, -1 for background, -2 for what is left out.

    Examples:
        >>> candidates = torch.tensor([[0.0, 0.0, 4.0, 4.0], [8.0, 8.0, 9.0, 9.0]])
        >>> match(candidates, candidates[:1], at_least=0.5, below=0.5).tolist()
        [0, -1]
    """
    if not len(objects):
        return torch.full((len(candidates),), BACKGROUND, device=candidates.device)
    overlap = iou(candidates, objects)
    best, index = overlap.max(dim=1)
    out = torch.where(best >= at_least, index, UNDECIDED)
    out = torch.where(best < below, BACKGROUND, out)
    if best_too:
        most = overlap.amax(dim=0)
        candidate, of_object = torch.where((overlap == most) & (most > 0))
        out[candidate] = of_object
    return out


def sample(matched: Tensor, n: int, share: float) -> tuple[Tensor, Tensor]:
    """Draw the candidates that a step learns from.

    Args:
        matched: (candidates,) as `match` gives it.
        n: how many to draw at most.
        share: of these at most so large a part stands for objects.

    Returns:
        Indices of candidates that stand for objects, and of background.

    Examples:
        >>> objects, background = sample(torch.tensor([0, 1, -1, -2, -1]), 4, 0.25)
        >>> len(objects), sorted(background.tolist())
        (1, [2, 4])
    """
    (objects,) = torch.where(matched >= 0)
    (background,) = torch.where(matched == BACKGROUND)
    objects = _draw(objects, int(n * share))
    return objects, _draw(background, n - len(objects))


def _draw(indices: Tensor, n: int) -> Tensor:
    """At most n of them, each as likely as the others; drawn on the CPU, so that devices agree."""
    return indices[torch.randperm(len(indices))[:n].to(indices.device)]
