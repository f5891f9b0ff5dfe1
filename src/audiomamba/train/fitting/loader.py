"""Batches of augmented training clips."""

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from audiomamba.audio import FrontEnd
from audiomamba.data import (
    ClipCache,
    EpochBatches,
    EpochSampler,
    Example,
    LabelVectors,
    TrainingDataset,
    collate,
)
from audiomamba.data.sampler import draw_for
from audiomamba.recipes import Recipe
from audiomamba.train.fitting import processes
from audiomamba.train.fitting.state import Position

__all__ = ["TrainingBatches"]


class TrainingBatches:
    """This process's share of every step's clips.

    Args:
        recipe: what to do.
        cache: the training clips.
        targets: their label vectors.
        front_end: how the model's input is made, statistics included.
        n_workers: processes that prepare clips; 0 to do it in this one.
        position: where the run goes on.

    Raises:
        ConfigError: there are fewer clips than processes.
    """

    def __init__(
        self,
        recipe: Recipe,
        cache: ClipCache,
        targets: LabelVectors,
        front_end: FrontEnd,
        *,
        n_workers: int = 0,
        position: Position,
    ) -> None:
        clips = TrainingDataset(
            cache, targets, recipe.training_front_end(front_end), recipe.augment, recipe.seed
        )
        self._sampler = EpochSampler(len(clips), recipe.seed, draw_for(recipe.sampling, targets))
        batches = EpochBatches(
            self._sampler, recipe.batch_size, processes.rank(), processes.n_processes()
        )
        batches.start_at(position.epochs, position.steps)
        self.n_steps = batches.n_steps
        self._loader: DataLoader[Example] = DataLoader(
            clips,
            batch_sampler=batches,
            num_workers=n_workers,
            persistent_workers=n_workers > 0,
            collate_fn=collate,
            generator=torch.Generator(),
        )

    def of_epoch(self, epoch: int) -> Iterator[Example]:
        """Return the batches of an epoch, or those that are left of it where the run goes on.

        Args:
            epoch: number of the epoch, from 0.
        """
        self._sampler.set_epoch(epoch)
        return iter(self._loader)
