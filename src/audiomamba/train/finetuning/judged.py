"""A model beside what it does on the held-out clips, which decide between two of them."""

import time
from dataclasses import dataclass, replace

from audiomamba import metrics
from audiomamba.checkpoints import Checkpoint
from audiomamba.infer import SoundModel
from audiomamba.recipes import Recipe
from audiomamba.train.evaluation import Evaluation, describe, score_clips
from audiomamba.train.finetuning.auto_recipe import BestBy
from audiomamba.train.split import Split

__all__ = ["Judged", "judged"]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A model, and what it does on the held-out clips.

    Args:
        checkpoint: the model.
        held_out: its metrics, precision, recall and F1 of each class at its threshold.
        thresholds: the score from which on a class is heard, with the highest F1.
        metric: what decides which of two models is better.
        recipe: how all layers were trained; None if they were not.
        n_epochs: passes over the training clips.
    """

    checkpoint: Checkpoint
    held_out: Evaluation
    thresholds: tuple[float, ...]
    metric: float
    recipe: Recipe | None = None
    n_epochs: int = 0


def judged(checkpoint: Checkpoint, split: Split, name: BestBy) -> Judged:
    """Score the held-out clips, and choose the thresholds that suit them best.

    Args:
        checkpoint: the model.
        split: the clips.
        name: the metric that decides.

    Raises:
        DataError: no held-out clip can be read.
    """
    began = time.perf_counter()
    scored = score_clips(SoundModel(checkpoint), split.held_out)
    targets = scored.clips.label_vectors(checkpoint.labels).dense()
    thresholds = metrics.best_thresholds(scored.scores, targets)
    held_out = describe(checkpoint.labels, scored, thresholds)
    return Judged(
        checkpoint=checkpoint,
        held_out=replace(held_out, seconds=time.perf_counter() - began),
        thresholds=thresholds,
        metric=held_out.metrics.accuracy
        if name == "accuracy"
        else held_out.metrics.mean_average_precision,
    )
