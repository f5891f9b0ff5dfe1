"""Which labels a tagger shows: the trusted ones, all, some by name, or the kinds above them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audiomamba.checkpoints import Checkpoint
from audiomamba.errors import ConfigError, UnknownNameError

__all__ = ["LabelView", "label_view"]


@dataclass(frozen=True)
class LabelView:
    """The labels that are shown, and of which classes of the model each is made.

    Args:
        labels: their names.
        members: for each label the indices of its classes; its score is the highest of theirs.
        thresholds: the score from which on a label is heard, where that is known.
    """

    labels: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    thresholds: Mapping[str, float]

    def __call__(self, scores: Tensor) -> Tensor:
        """Pick the scores of the labels.

        Args:
            scores: (..., classes) of the model.

        Returns:
            (..., labels).
        """
        if all(len(classes) == 1 for classes in self.members):
            return scores[..., [classes[0] for classes in self.members]]
        return torch.stack([scores[..., list(it)].amax(-1) for it in self.members], -1)


def label_view(
    checkpoint: Checkpoint,
    *,
    labels: Sequence[str] | None = None,
    level: int | None = None,
    all_labels: bool = False,
) -> LabelView:
    """Choose the labels to show.

    Args:
        checkpoint: the model; its hidden labels are left out unless they are named or all_labels
            is true.
        labels: show only these, in the order of the model; None for no choice by name.
        level: show the kinds at this level above the labels instead: 1 for the roots of the
            model's ontology, 2 for the kinds below them, and so on. A label that stands higher
            than the level is shown itself. Such kinds have no thresholds.
        all_labels: also show the labels that the model's card does not vouch for.

    Returns:
        The view.

    Raises:
        ConfigError: level is less than 1, the model has no ontology, or no label is left.
        UnknownNameError: a name of labels is none of the model's labels or kinds.

    Examples:
        >>> import audiomamba
        >>> tagger = audiomamba.load("general", labels=["Dog", "Rain"])
        >>> tagger.labels
        ('Dog', 'Rain')
    """
    shown = [
        index
        for index, label in enumerate(checkpoint.labels)
        if all_labels or (labels and label in labels) or label not in checkpoint.hidden
    ]
    if level is None:
        kinds = {checkpoint.labels[index]: [index] for index in shown}
    else:
        kinds = _kinds(checkpoint, shown, level)
    for name in labels or ():
        if name not in kinds:
            raise UnknownNameError("label", name, kinds)
    chosen = {name: tuple(it) for name, it in kinds.items() if labels is None or name in labels}
    if not chosen:
        raise ConfigError("no label is left to show; expected at least one name")
    known = dict(zip(checkpoint.labels, checkpoint.thresholds or (), strict=False))
    thresholds = {} if level is not None else {name: known[name] for name in chosen if known}
    return LabelView(tuple(chosen), tuple(chosen.values()), thresholds)


def _kinds(checkpoint: Checkpoint, shown: Sequence[int], level: int) -> dict[str, list[int]]:
    """The indices of the labels below each node of one level, in the order of the labels."""
    if level < 1:
        raise ConfigError(f"level is {level}; expected 1 for the roots, or more")
    if not checkpoint.parents:
        raise ConfigError(f"{checkpoint.name} has no ontology; leave the level out")
    kinds: dict[str, list[int]] = {}
    for index in shown:
        for kind in _at_level(checkpoint.labels[index], checkpoint.parents, level):
            kinds.setdefault(kind, []).append(index)
    return kinds


def _at_level(label: str, parents: Mapping[str, Sequence[str]], level: int) -> list[str]:
    """The nodes at one level on the paths from a label to its roots, without repeats."""
    paths: list[list[str]] = [[label]]
    found: dict[str, None] = {}
    while paths:
        path = paths.pop(0)
        above = parents.get(path[-1], ())
        if not above:
            found[path[-level] if len(path) >= level else label] = None
        paths += [[*path, node] for node in above]
    return list(found)
