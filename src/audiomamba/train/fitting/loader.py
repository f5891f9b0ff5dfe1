"""Batches of augmented training clips."""

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

__all__ = ["EpochLoader", "new_loader"]


class EpochLoader(DataLoader[Example]):
    """A loader whose length is that of a whole epoch, also when it begins in the middle of one."""

    batch_sampler: EpochBatches

    def __len__(self) -> int:
        return self.batch_sampler.n_steps


def new_loader(
    recipe: Recipe,
    cache: ClipCache,
    targets: LabelVectors,
    front_end: FrontEnd,
    *,
    n_workers: int = 0,
    position: Position | None = None,
) -> EpochLoader:
    """Make the loader of this process.

    Args:
        recipe: what to do.
        cache: the training clips.
        targets: their label vectors.
        front_end: how the model's input is made, statistics included.
        n_workers: processes that prepare clips; 0 to do it in this one.
        position: where the run goes on; None for its beginning.

    Returns:
        Its share of every step's clips.

    Raises:
        ConfigError: there are fewer clips than processes.
    """
    clips = TrainingDataset(
        cache, targets, recipe.training_front_end(front_end), recipe.augment, recipe.seed
    )
    sampler = EpochSampler(len(clips), recipe.seed, draw_for(recipe.sampling, targets))
    batches = EpochBatches(sampler, recipe.batch_size, processes.rank(), processes.n_processes())
    if position is not None:
        sampler.set_epoch(position.epochs)  # before workers begin to read ahead
        batches.start_at(position.epochs, position.steps)
    return EpochLoader(
        clips,
        batch_sampler=batches,
        num_workers=n_workers,
        persistent_workers=n_workers > 0,
        collate_fn=collate,
        generator=torch.Generator(),
    )
