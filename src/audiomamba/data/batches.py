"""An epoch cut into batches, shared out among the processes that train together.

The order of an epoch is a function of the seed and the epoch, so that nothing needs to be handed
from process to process: each takes its share of the same order, and a position in an epoch is the
number of steps done.
"""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from audiomamba.data.sampler import EpochSampler
from audiomamba.errors import ConfigError

__all__ = ["EpochBatches"]

Key = tuple[int, int, int]


class EpochBatches(Sampler[list[Key]]):
    """The batches of one of several processes, each clip of the epoch in exactly one of them.

    A step takes the next batch_size * world_size clips of the epoch's order, and every process each
    world_size-th of these: together they see in a step what one process with the batch size times
    world_size would. All processes make the same number of steps; where the last step would leave
    some of them without a clip, its clips go into the step before.

    Args:
        sampler: the order of the whole epoch.
        batch_size: clips per step and process, at least 1.
        rank: number of this process, from 0.
        world_size: how many processes there are.

    Raises:
        ConfigError: a number is out of range, or there are fewer clips than processes.

    Examples:
        >>> sampler = EpochSampler(n_clips=5, seed=0)
        >>> [len(batch) for batch in EpochBatches(sampler, batch_size=2)]
        [2, 2, 1]
    """

    def __init__(
        self, sampler: EpochSampler, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world_size:
            raise ConfigError(
                f"batch_size is {batch_size}, rank {rank} and world_size {world_size}; expected "
                "batch_size at least 1 and 0 <= rank < world_size"
            )
        if len(sampler) < world_size:
            raise ConfigError(f"{len(sampler)} clips for {world_size} processes; use fewer of them")
        self.sampler = sampler
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self._resumed = (0, 0)

    @property
    def n_steps(self) -> int:
        """Steps in a whole epoch."""
        n_clips, together = len(self.sampler), self.batch_size * self.world_size
        n_steps, rest = divmod(n_clips, together)
        return n_steps + (rest >= self.world_size or (rest > 0 and n_steps == 0))

    def start_at(self, epoch: int, step: int) -> None:
        """Begin one epoch in its middle; all others begin at 0.

        Args:
            epoch: number of the epoch, from 0.
            step: steps of it that are done, from 0 to n_steps.

        Raises:
            ConfigError: there are not so many steps.
        """
        if not 0 <= step <= self.n_steps:
            raise ConfigError(f"step is {step}; expected 0 to {self.n_steps}, an epoch's steps")
        self._resumed = epoch, step

    def _start(self) -> int:
        """The first step of the current epoch."""
        epoch, step = self._resumed
        return step if self.sampler.epoch == epoch else 0

    def __len__(self) -> int:
        """Steps that are left in the sampler's epoch."""
        return self.n_steps - self._start()

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield the keys of one batch after the other."""
        order, epoch = self.sampler.order(), self.sampler.epoch
        return (self._batch(order, epoch, step) for step in range(self._start(), self.n_steps))

    def _batch(self, order: np.ndarray, epoch: int, step: int) -> list[Key]:
        """This process's share of one step."""
        together = self.batch_size * self.world_size
        end = len(order) if step == self.n_steps - 1 else (step + 1) * together
        share = order[step * together + self.rank : end : self.world_size]
        return [(epoch, int(clip), int(take)) for clip, take in share]
