"""What finetune trains: the model to start from, and a recipe that suits the clips."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from audiomamba import checkpoints, models, recipes
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import Checkpoint
from audiomamba.data import Manifest
from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.models import ModelConfig
from audiomamba.recipes import Recipe
from audiomamba.train.split import Split

__all__ = ["BestBy", "Start", "best_by", "choose_recipe", "find_model", "fitting_frames"]

BestBy = Literal["accuracy", "mean_average_precision"]

SET_BY_THE_RUN = ("n_classes", "n_mels", "n_frames")
LONGEST_FRAMES = 1024
FRAME_MULTIPLE = 16  # the models' patches and strides
NEGLIGIBLE = 0.01  # of the frames: what may be cut off so that fewer are needed
NEARLY_ALL = 95  # percent of the clips that fit into the input
CROPPED_FROM = 320  # frames from which on models of any length train on pieces of half the length
LARGEST_BATCH, SMALLEST_BATCH = 16, 4
SILENCE = -15.942385  # log-mel value of digital silence
RATE_FRESH, RATE_TRAINED, RATE_WITH_HEAD = 1e-3, 5e-4, 3e-4


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a model is made from.

    Args:
        model: name of the model.
        changes: fields of its config with other values than the model's own.
        init: folder of the weights; None for fresh ones.
        checkpoint: what is in that folder.
        head: whether its head is one for the clips' classes already.
    """

    model: str
    changes: Mapping[str, Any]
    init: str | None
    checkpoint: Checkpoint | None
    head: bool = False

    @property
    def folder(self) -> Path | None:
        """The folder of the weights, if it is one of the user's."""
        is_own = self.init is not None and Path(self.init).is_absolute()
        return Path(self.init) if self.init and is_own else None

    @property
    def config(self) -> ModelConfig:
        """The model's settings."""
        return models.MODELS[self.model]


def find_model(name: str, *, trained: bool) -> Start:
    """Find the model that finetune starts from.

    Args:
        name: a model that ships with the package, a folder, or a name of models.MODELS.
        trained: whether fresh weights will not do.

    Returns:
        The model.

    Raises:
        UnknownNameError: there is no such model.
        ConfigError: it reads images, has settings that no named model has, or is fresh where a
            trained one is needed.
        CheckpointError: the folder cannot be loaded.
    """
    if name in models.MODELS and not Path(name).is_dir():
        if trained:
            raise ConfigError(
                f"{name} has fresh weights, and a probe leaves the encoder as it is; "
                f"expected a trained model, such as {', '.join(checkpoints.packaged())}"
            )
        return Start(model=name, changes={}, init=None, checkpoint=None)
    try:
        folder = checkpoints.find(name)
    except UnknownNameError:
        known = [*checkpoints.packaged(), *models.MODELS]
        raise UnknownNameError("model", name, known) from None
    checkpoint = checkpoints.load(folder)
    if checkpoint.front_end is None:
        raise ConfigError(f"{folder} is a model of images; expected one of sound")
    init = name if name in checkpoints.packaged() else str(folder.resolve())
    named, changes = _named(checkpoint)
    return Start(model=named, changes=changes, init=init, checkpoint=checkpoint)


def choose_recipe(start: Start, manifest: Manifest, split: Split, changes: Sequence[str]) -> Recipe:
    """Choose all settings of a run but its length.

    Args:
        start: the model to start from.
        manifest: the clips.
        split: the clips to learn from, and those held out.
        changes: settings with other values, as for recipes.override.

    Returns:
        A recipe of one epoch.

    Raises:
        ConfigError: a change cannot work.
    """
    base = recipes.get("own/starter")
    front_end = FrontEnd(n_mels=start.config.n_mels, pad_log_mel=SILENCE)
    if start.checkpoint is not None and start.checkpoint.front_end is not None:
        front_end = start.checkpoint.front_end
    seconds = split.training.seconds
    front_end = replace(front_end, n_frames=fitting_frames(seconds, front_end))
    n_frames = front_end.n_frames
    crops = start.config.any_length and n_frames >= CROPPED_FROM
    n_training = n_frames // 2 if crops else n_frames
    single = manifest.single_label
    n_clips = len(split.training)
    chosen = replace(
        base,
        name="own/finetune",
        model=start.model,
        model_changes=start.changes,
        init=start.init,
        front_end=front_end,
        freeze_batch_norm=start.init is not None,
        training_frames=n_training if crops else None,
        measure_statistics=start.init is None,
        augment=replace(
            base.augment,
            speed=(0.9, 1.1),
            mixup=0.5,
            negatives=0.1,
            frame_mask_frames=n_training // 8,
            mel_mask_bins=front_end.n_mels // 8,
        ),
        loss="ce" if single else "bce",
        label_smoothing=0.1 if single else 0.0,
        best_by=best_by(manifest),
        batch_size=int(np.clip(n_clips // 8, SMALLEST_BATCH, LARGEST_BATCH)),
        learning_rate=_rate(start),
        precision="float32",
        epochs=1,
        warmup_epochs=0,
        evaluate_every=1,
    )
    return recipes.override(chosen, changes)


def best_by(manifest: Manifest) -> BestBy:
    """Name the metric that decides which model is best.

    Args:
        manifest: the clips.
    """
    return "accuracy" if manifest.single_label else "mean_average_precision"


def _rate(start: Start) -> float:
    """The learning rate that suits how much of a model is trained."""
    if start.init is None:
        return RATE_FRESH
    return RATE_WITH_HEAD if start.head else RATE_TRAINED


def fitting_frames(seconds: np.ndarray, front_end: FrontEnd) -> int:
    """Choose the length of a model's input by the lengths of clips.

    Args:
        seconds: (clips,), NaN where it is not known.
        front_end: how the input is made.

    Returns:
        Frames, a multiple of 16: as many as nearly all clips have, from 32 to 1024.
    """
    known = seconds[~np.isnan(seconds)]
    if not len(known):
        return front_end.n_frames
    longest_s = float(np.percentile(known, NEARLY_ALL))
    n_frames = front_end.frames_in(max(1, round(longest_s * front_end.sample_rate)))
    n_kept = math.ceil(n_frames * (1 - NEGLIGIBLE))
    n_fitting = math.ceil(n_kept / FRAME_MULTIPLE) * FRAME_MULTIPLE
    return min(max(n_fitting, 2 * FRAME_MULTIPLE), LONGEST_FRAMES)


def _named(checkpoint: Checkpoint) -> tuple[str, dict[str, Any]]:
    """The named model that a checkpoint's settings are closest to, and what differs."""
    config = checkpoint.model.config
    found: list[tuple[int, str, dict[str, Any]]] = []
    for name, named in models.MODELS.items():
        if type(named) is not type(config):
            continue
        changes = {
            field.name: getattr(config, field.name)
            for field in fields(config)
            if field.name not in SET_BY_THE_RUN
            and getattr(config, field.name) != getattr(named, field.name)
        }
        if not any(is_dataclass(value) or value is None for value in changes.values()):
            found.append((len(changes), name, changes))
    if not found:
        raise ConfigError(
            f"{checkpoint.name} has settings that no named model has, and cannot be trained on; "
            f"start from another model, such as {', '.join(checkpoints.packaged())}"
        )
    _, name, changes = min(found, key=lambda one: one[:2])
    return name, changes
