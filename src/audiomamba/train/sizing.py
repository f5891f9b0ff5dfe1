"""How long a run may be: a few steps are measured, then the number of epochs is chosen."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from lightning.fabric.utilities import move_data_to_device

from audiomamba import models, recipes
from audiomamba.data import ClipCache, Example, Manifest, TrainingSet, collate
from audiomamba.recipes import Recipe
from audiomamba.train.parts import Parts

__all__ = ["size"]

Precision = Literal["float32", "bfloat16", "float16"]

N_WARM, N_TIMED = 1, 3
SPARE = 0.8  # share of the time that is planned for; the rest is for what steps do not show
FORWARD_SHARE = 0.4  # of a step's time: reading a clip without learning from it
MOST_STEPS, MOST_STEPS_TRAINED = 3000, 2000
LEAST_EPOCHS, MOST_EPOCHS = 3, 100
N_EVALUATIONS = 20
PATIENCE = 8  # evaluations without a better one
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
LONGEST_AVERAGE, AVERAGED_SHARE = 100, 0.05  # steps, and share of all steps, that weights stand for


def size(
    draft: Recipe, manifest: Manifest, parts: Parts, left_s: float, changes: Sequence[str]
) -> Recipe:
    """Choose how many epochs a run has, how weights are averaged, and the faster precision.

    Args:
        draft: the recipe, of any length.
        manifest: the clips.
        parts: the same, divided.
        left_s: seconds that the run may take.
        changes: settings that were asked for, as for recipes.override; they are kept.

    Returns:
        The recipe.

    Raises:
        AudioError: a clip cannot be read.
        ConfigError: the model cannot take such clips.
    """
    asked = {change.partition("=")[0].strip() for change in changes}
    kinds = (draft.precision,) if "precision" in asked else PRECISIONS
    step_s = {kind: _step_seconds(draft, manifest, parts, kind) for kind in kinds}
    precision = min(step_s, key=lambda kind: step_s[kind])
    n_steps = math.ceil(len(parts.training) / draft.batch_size)
    epoch_s = n_steps * step_s[precision]
    look_s = FORWARD_SHARE * step_s[precision] * len(parts.held_out) / draft.batch_size
    most_steps = MOST_STEPS if draft.init is None else MOST_STEPS_TRAINED
    most = min(MOST_EPOCHS, max(LEAST_EPOCHS, math.ceil(most_steps / n_steps)))
    affordable = int((SPARE * left_s - N_EVALUATIONS * look_s) / epoch_s)
    epochs = draft.epochs if "epochs" in asked else max(1, min(most, affordable))
    sized = replace(
        draft,
        precision=precision,
        epochs=epochs,
        ema_decay=_decay(epochs * n_steps),
        warmup_epochs=max(1, epochs // 10) if epochs > 1 else 0,
        evaluate_every=max(1, epochs // N_EVALUATIONS),
        patience=PATIENCE,
    )
    return recipes.override(sized, changes)


def _decay(n_steps: int) -> float:
    """Decay of the average of weights: short enough to follow a short run."""
    return 1 - 1 / max(2.0, min(LONGEST_AVERAGE, AVERAGED_SHARE * n_steps))


def _step_seconds(recipe: Recipe, manifest: Manifest, parts: Parts, precision: str) -> float:
    """Seconds of one step, making the batch included."""
    from audiomamba.train.module import TrainingModule

    front_end = replace(recipe.front_end, mean=recipe.front_end.mean or 0.0)
    front_end = replace(front_end, std=front_end.std or 1.0)
    torch.manual_seed(recipe.seed)
    model = models.create(
        recipe.model,
        **recipe.model_changes,
        n_classes=len(manifest.labels),
        n_mels=front_end.n_mels,
        n_frames=front_end.n_frames,
    )
    n_clips = min(recipe.batch_size, len(parts.training))
    clips = parts.training[:n_clips]
    targets = manifest.label_vectors(clips)
    cache = ClipCache(clips, front_end.sample_rate)
    training = TrainingSet(
        cache, targets, recipe.training_front_end(front_end), recipe.augment, recipe.seed
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = TrainingModule(model, recipe, front_end, 1, [clip.name for clip in clips]).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    dtype = getattr(torch, precision)
    taken: list[float] = []
    for turn in range(N_WARM + N_TIMED):
        began = time.perf_counter()
        batch: Example = collate([training[turn, place] for place in range(n_clips)])
        with torch.autocast(device.type, dtype, enabled=precision != "float32"):
            loss = module.training_step(move_data_to_device(batch, device), 0)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        taken.append((time.perf_counter() - began) * recipe.batch_size / n_clips)
    return statistics.median(taken[N_WARM:])
