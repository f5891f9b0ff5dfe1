"""The order in which clips are seen."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

__all__ = ["EpochSampler", "clip_rng"]

ORDER, CLIP = 0, 1  # keeps the two kinds of random streams apart


def clip_rng(seed: int, epoch: int, clip: int) -> np.random.Generator:
    """Return the random numbers for one clip in one epoch.

    Args:
        seed: seed of the run.
        epoch: number of the epoch, from 0.
        clip: place of the clip in the data set.

    Returns:
        A generator that depends on these three and nothing else, so that any number of worker
        processes, and a run that was resumed, draw the same.
    """
    return np.random.default_rng([CLIP, seed, epoch, clip])


class EpochSampler(Sampler[tuple[int, int]]):
    """Every clip once per epoch, in an order that depends on the seed and the epoch alone.

    Args:
        n_clips: number of clips.
        seed: seed of the run.
    """

    def __init__(self, n_clips: int, seed: int) -> None:
        self.n_clips = n_clips
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next.

        Args:
            epoch: number of the epoch, from 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_clips

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (epoch, clip) pairs: with both, a data set knows the random numbers to use."""
        order = np.random.default_rng([ORDER, self.seed, self.epoch]).permutation(self.n_clips)
        return ((self.epoch, int(clip)) for clip in order)
