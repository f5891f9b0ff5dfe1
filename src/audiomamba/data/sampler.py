"""The order in which clips are seen."""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from torch.utils.data import Sampler

from audiomamba.data.clips import LabelVectors
from audiomamba.errors import DataError

__all__ = [
    "Draw",
    "EpochSampler",
    "balanced_weights",
    "by_class",
    "clip_rng",
    "draw_for",
    "shuffled",
    "weighted",
]

ORDER, CLIP = 0, 1  # keeps the two kinds of random streams apart
WEIGHT, ADDED = 1000.0, 0.01

Draw = Callable[[np.random.Generator], np.ndarray]


def clip_rng(seed: int, epoch: int, clip: int, take: int = 0) -> np.random.Generator:
    """Return the random numbers for one clip in one epoch.

    Args:
        seed: seed of the run.
        epoch: number of the epoch, from 0.
        clip: index of the clip in the data set.
        take: how often the clip came before in this epoch.

    Returns:
        A generator that depends on these and nothing else, so that any number of worker processes,
        and a run that was resumed, draw the same.
    """
    return np.random.default_rng([CLIP, seed, epoch, clip, *([take] if take else [])])


def shuffled(n_clips: int) -> Draw:
    """Return how an epoch is drawn that has every clip once.

    Args:
        n_clips: number of clips.

    Returns:
        A function from random numbers to (n_clips,) int64, indices of clips.
    """
    return lambda rng: rng.permutation(n_clips)


def weighted(weights: np.ndarray) -> Draw:
    """Return how an epoch is drawn in which clips come as often as their weights say.

    Args:
        weights: (clips,), not negative, not all 0.

    Returns:
        A function from random numbers to (clips,) int64, indices drawn with replacement.
    """
    upper = np.cumsum(weights, dtype=np.float64)
    n_clips = len(upper)
    return lambda rng: np.searchsorted(upper, rng.random(n_clips) * upper[-1], side="right")


def balanced_weights(targets: LabelVectors) -> np.ndarray:
    """Return weights that let clips with rare labels come more often.

    Args:
        targets: the clips' label vectors.

    Returns:
        (clips,) float64: the sum over a clip's labels of 1000 / (clips with the label + 0.01).

    Raises:
        DataError: no clip has a label.

    Source: AST's released code.
    """
    _check_labelled(targets)
    return targets.sums(WEIGHT / (targets.counts + ADDED))


def by_class(targets: LabelVectors) -> Draw:
    """Return how an epoch is drawn that asks all classes in turns, in a new order each time.

    Args:
        targets: the clips' label vectors; classes without clips are left out.

    Returns:
        A function from random numbers to (clips,) int64: a random clip of each class in turn.

    Raises:
        DataError: no clip has a label.

    Source: HTS-AT's released code.
    """
    _check_labelled(targets)
    n_clips = len(targets)
    clips = np.repeat(np.arange(n_clips), np.diff(targets.begins))
    clips = clips[np.argsort(targets.classes, kind="stable")]
    count = targets.counts[targets.counts > 0]
    first = np.cumsum(count) - count

    def draw(rng: np.random.Generator) -> np.ndarray:
        turns = np.tile(np.arange(len(count)), (-(-n_clips // len(count)), 1))
        order = rng.permuted(turns, axis=1).reshape(-1)[:n_clips]
        chosen: np.ndarray = clips[first[order] + rng.integers(count[order])]
        return chosen

    return draw


def draw_for(sampling: Literal["shuffled", "balanced", "by-class"], targets: LabelVectors) -> Draw:
    """Return how the epochs of a recipe are drawn.

    Args:
        sampling: as recipes.Recipe says.
        targets: the clips' label vectors.

    Returns:
        What `shuffled`, `weighted` with AST's weights, or `by_class` gives.

    Raises:
        DataError: classes are to be balanced, and no clip has a label.
    """
    match sampling:
        case "shuffled":
            return shuffled(len(targets))
        case "balanced":
            return weighted(balanced_weights(targets))
        case "by-class":
            return by_class(targets)


def _check_labelled(targets: LabelVectors) -> None:
    """Refuse clips among which nothing can be balanced."""
    if not len(targets.classes):
        raise DataError("no clip has a label; expected labels to balance the classes by")


class EpochSampler(Sampler[tuple[int, int, int]]):
    """Clips in an order that depends on the seed and the epoch alone.

    Args:
        n_clips: number of clips in the data set, and of keys in an epoch.
        seed: seed of the run.
        draw: what gives the clips of an epoch: `shuffled`, `weighted` or `by_class`; None for every
            clip once.

    Examples:
        >>> sampler = EpochSampler(n_clips=4, seed=0)
        >>> sampler.set_epoch(1)
        >>> sorted(clip for epoch, clip, take in sampler)
        [0, 1, 2, 3]
    """

    def __init__(self, n_clips: int, seed: int, draw: Draw | None = None) -> None:
        self.n_clips = n_clips
        self.seed = seed
        self.draw = draw or shuffled(n_clips)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next.

        Args:
            epoch: number of the epoch, from 0.
        """
        self.epoch = epoch

    def order(self) -> np.ndarray:
        """Return the whole epoch.

        Returns:
            (n_clips, 2) int64: a clip's index in the data set, and how often it came before.
        """
        clips = self.draw(np.random.default_rng([ORDER, self.seed, self.epoch]))
        return np.stack([clips, _takes(clips)], axis=1)

    def __len__(self) -> int:
        return self.n_clips

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Yield (epoch, clip, take): with these a data set knows the random numbers to use."""
        return ((self.epoch, int(clip), int(take)) for clip, take in self.order())


def _takes(clips: np.ndarray) -> np.ndarray:
    """How often each entry of a list came before."""
    together = np.argsort(clips, kind="stable")
    _, first, count = np.unique(clips[together], return_index=True, return_counts=True)
    takes = np.empty_like(clips)
    takes[together] = np.arange(len(clips)) - np.repeat(first, count)
    return takes
