"""How long a run may be, going by a few steps that are measured.

What is measured before a run need not hold during it. So a run gets the time by which it ends, and
goes through its schedule as fast as that takes; what is measured only decides how the weights are
averaged and how often the held-out clips are looked at.
"""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from lightning.fabric.utilities import move_data_to_device

from audiomamba import models, recipes
from audiomamba.audio import FrontEnd
from audiomamba.data import (
    ClipCache,
    EvaluationDataset,
    Example,
    LabelVectors,
    Manifest,
    TrainingDataset,
    collate,
)
from audiomamba.models import AudioModel
from audiomamba.recipes import Recipe
from audiomamba.train.distillation.targets import DistillationTargets, open_targets
from audiomamba.train.fitting.scoring import predict
from audiomamba.train.split import Split

__all__ = ["Budget", "choose_budget"]

Precision = Literal["float32", "bfloat16", "float16"]

N_WARM, N_TIMED = 1, 3
LEAST_S = 1.0  # for training, if reading the clips has taken all the time
MOST_STEPS, MOST_STEPS_TRAINED, MOST_STEPS_WITH_HEAD = 3000, 2000, 300
LEAST_EPOCHS, MOST_EPOCHS = 3, 100
LEAST_EVALUATIONS, MOST_EVALUATIONS = 5, 20
EVALUATED_SHARE = 0.1  # of the time: what looking at the held-out clips may take on the way
PATIENCE = 8  # evaluations without a better one
SLOWER = 2  # times: how much slower the machine may be in the end than it is in the beginning
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
LONGEST_AVERAGE, AVERAGED_SHARE = 100, 0.05  # steps, and share of all steps, that weights stand for


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a run may be.

    Args:
        recipe: what to do; its epochs are the most that it takes.
        budget_s: seconds that fit may take; None for as long as the epochs take.
    """

    recipe: Recipe
    budget_s: float | None


def choose_budget(
    draft: Recipe,
    manifest: Manifest,
    split: Split,
    left_s: float,
    changes: Sequence[str],
    *,
    with_head: bool = False,
) -> Budget:
    """Choose how long a run may be, how weights are averaged, and the faster precision.

    Args:
        draft: the recipe, of any length.
        manifest: the clips.
        split: the clips to learn from, and those held out.
        left_s: seconds until the model has to be ready.
        changes: settings that were asked for, as for recipes.override; they are kept. Epochs that
            were asked for are all done, however long they take.
        with_head: whether the run starts from a model with a head for the clips, which takes few
            steps.

    Returns:
        The recipe, and when it has to be done.

    Raises:
        AudioError: a clip cannot be read.
        ConfigError: the model cannot take such clips.
    """
    began = time.perf_counter()
    asked = {change.partition("=")[0].strip() for change in changes}
    kinds = (draft.precision,) if "precision" in asked else PRECISIONS
    costs = {kind: _measure(draft, manifest, split, kind) for kind in kinds}
    precision = min(costs, key=lambda kind: costs[kind].step_s)
    cost = costs[precision]
    n_steps = math.ceil(len(split.training) / draft.batch_size)
    look_s = cost.look_s * len(split.held_out)
    read_s = cost.read_s * (len(split.training) + len(split.held_out))
    last_s = 2 * look_s + (cost.look_s + cost.read_s) * len(split.held_out)  # after the last step
    budget_s = max(LEAST_S, left_s - SLOWER * last_s - (time.perf_counter() - began))
    most_steps = MOST_STEPS if draft.init is None else MOST_STEPS_TRAINED
    most_steps = MOST_STEPS_WITH_HEAD if with_head else most_steps
    most = min(MOST_EPOCHS, max(LEAST_EPOCHS, math.ceil(most_steps / n_steps)))
    n_looks = int(EVALUATED_SHARE * budget_s / (2 * look_s))  # of the weights and their average
    n_looks = min(max(n_looks, LEAST_EVALUATIONS), MOST_EVALUATIONS)
    affordable = int((budget_s - read_s - n_looks * 2 * look_s) / (n_steps * cost.step_s))
    epochs = draft.epochs if "epochs" in asked else most
    n_likely = draft.epochs if "epochs" in asked else max(1, min(most, affordable))
    sized = replace(
        draft,
        precision=precision,
        epochs=epochs,
        ema_decay=_decay(n_likely * n_steps),
        warmup_epochs=max(1, epochs // 10) if epochs > 1 else 0,
        evaluate_every=max(1, n_likely // n_looks),
        patience=PATIENCE,
    )
    return Budget(
        recipe=recipes.override(sized, changes), budget_s=None if "epochs" in asked else budget_s
    )


def _decay(n_steps: int) -> float:
    """Decay of the average of weights: short enough to follow a short run."""
    return 1 - 1 / max(2.0, min(LONGEST_AVERAGE, AVERAGED_SHARE * n_steps))


@dataclass(frozen=True, kw_only=True)
class _Cost:
    """Seconds of one training step; of reading a clip; and of scoring a clip that is read."""

    step_s: float
    read_s: float
    look_s: float


def _measure(recipe: Recipe, manifest: Manifest, split: Split, precision: Precision) -> _Cost:
    """Do a few steps, and read and score a few clips."""
    front_end = replace(recipe.front_end, mean=recipe.front_end.mean or 0.0)
    front_end = replace(front_end, std=front_end.std or 1.0)
    torch.manual_seed(recipe.seed)
    model = models.create(
        recipe.model,
        **recipe.model_changes,
        n_classes=len(manifest.labels),
        n_mels=front_end.n_mels,
        n_frames=front_end.n_frames,
    ).to("cuda" if torch.cuda.is_available() else "cpu")
    clips = split.training[: recipe.batch_size]
    cache = ClipCache(clips, front_end.sample_rate)
    began = time.perf_counter()
    for index in range(len(clips)):
        cache.waveform(index)
    read_s = (time.perf_counter() - began) / len(clips)
    pad = not model.config.any_length
    looked_at = EvaluationDataset(clips, manifest.targets(clips), front_end, pad=pad)
    predict(model, looked_at, recipe.batch_size)  # which keeps what is read
    began = time.perf_counter()
    predict(model, looked_at, recipe.batch_size)
    look_s = (time.perf_counter() - began) / len(clips)
    changed = replace(recipe, precision=precision)
    distillation = open_targets(changed, manifest, replace(split, training=clips))
    targets = manifest.label_vectors(clips)
    step_s = _step_seconds(changed, model, cache, front_end, targets, distillation=distillation)
    return _Cost(step_s=step_s, read_s=read_s, look_s=look_s)


def _step_seconds(
    recipe: Recipe,
    model: AudioModel,
    cache: ClipCache,
    front_end: FrontEnd,
    targets: LabelVectors,
    *,
    distillation: DistillationTargets | None,
) -> float:
    """Seconds of one step, making the batch included."""
    from audiomamba.train.fitting.module import TrainingModule

    targets = targets if distillation is None else distillation.label_vectors(targets)
    training = TrainingDataset(
        cache, targets, recipe.training_front_end(front_end), recipe.augment, recipe.seed
    )
    device = next(model.parameters()).device
    n_clips = len(training)
    module = TrainingModule(model, recipe, front_end, 1, [""] * n_clips, distillation=distillation)
    module.to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    autocast = recipe.precision != "float32"
    taken: list[float] = []
    for turn in range(N_WARM + N_TIMED):
        began = time.perf_counter()
        batch: Example = collate([training[turn, index] for index in range(n_clips)])
        with torch.autocast(device.type, getattr(torch, recipe.precision), enabled=autocast):
            loss = module(move_data_to_device(batch, device), 0)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        taken.append((time.perf_counter() - began) * recipe.batch_size / n_clips)
    return statistics.median(taken[N_WARM:])
