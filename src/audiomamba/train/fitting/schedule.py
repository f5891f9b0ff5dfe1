"""The learning rate at every step of a run."""

import math
from collections.abc import Callable

from audiomamba.recipes import Recipe, Schedule

__all__ = ["learning_rate_fraction"]


def learning_rate_fraction(recipe: Recipe, n_steps: int) -> Callable[[int], float]:
    """Return the schedule of a recipe.

    Args:
        recipe: the recipe.
        n_steps: optimizer steps in one epoch.

    Returns:
        The share of the recipe's learning rate at a step, counted from 0.
    """
    schedule = recipe.schedule
    warmup = schedule.warmup_steps
    if warmup is None:
        warmup = min(recipe.warmup_epochs, recipe.epochs) * n_steps

    def fraction(step: int) -> float:
        if schedule.stepped == "epoch":
            step -= step % n_steps
        if step < warmup:
            return _rising(schedule, step, warmup)
        if schedule.kind == "cosine":
            rest = max(1, recipe.epochs * n_steps - warmup)
            cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / rest)))
            return recipe.final_lr_fraction + (1 - recipe.final_lr_fraction) * cosine
        return _of_epoch(schedule, step // n_steps)

    return fraction


def _rising(schedule: Schedule, step: int, warmup: int) -> float:
    """The share during the warm-up."""
    if schedule.warmup_from is None:
        return (step + 1) / warmup
    step -= step % schedule.warmup_every
    return schedule.warmup_from + (1 - schedule.warmup_from) * step / warmup


def _of_epoch(schedule: Schedule, epoch: int) -> float:
    """The share in an epoch, counted from 0, of the kinds that are constant within one."""
    if schedule.kind == "by-epoch":
        return schedule.shares[min(epoch, len(schedule.shares) - 1)]
    if epoch < schedule.drop_after:
        return 1.0
    n_drops = 1 + (epoch - schedule.drop_after) // schedule.drop_every
    return float(schedule.drop_factor**n_drops)
