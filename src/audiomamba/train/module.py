"""One training step, for Lightning: features, loss, optimizer, schedule, average of weights."""

import math
from collections.abc import Sequence
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from audiomamba import audio
from audiomamba.audio import FrontEnd
from audiomamba.data import Example
from audiomamba.data.feature_changes import blend, change_features
from audiomamba.errors import TrainingError
from audiomamba.models import AudioModel
from audiomamba.recipes import Recipe
from audiomamba.train.activations import checkpoint_blocks
from audiomamba.train.optimizer import new_optimizer
from audiomamba.train.schedule import learning_rate_fraction

__all__ = ["TrainingModule", "smooth", "spread"]

SMALLEST_SCALE = 1e-3  # of the loss in float16: below it gradients overflow whatever the scale


class TrainingModule(pl.LightningModule):
    """A model in training.

    Args:
        model: the model.
        recipe: how it is trained.
        front_end: how its input is made, statistics included.
        n_steps: batches in one epoch.
        clip_names: names of the training clips, for messages.
    """

    def __init__(
        self,
        model: AudioModel,
        recipe: Recipe,
        front_end: FrontEnd,
        n_steps: int,
        clip_names: Sequence[str],
    ) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.front_end = front_end
        self.n_steps = n_steps
        self.clip_names = clip_names
        self.losses: list[float] = []
        self.average: AveragedModel | None = None
        if recipe.ema_decay is not None:
            average = get_ema_multi_avg_fn(recipe.ema_decay)
            self.average = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
        elif recipe.swa_epochs:
            self.average = AveragedModel(model, use_buffers=True)
        if self.average is not None:
            self.average.requires_grad_(False)
        if recipe.activation_checkpointing:
            checkpoint_blocks(model)

    @property
    def averages(self) -> bool:
        """Whether there is an average of weights by now."""
        return self.average is not None and bool(self.average.n_averaged)

    @property
    def final_model(self) -> AudioModel:
        """The model that the run hands over: the average if there is one."""
        if self.average is None or not self.averages:
            return self.model
        return cast(AudioModel, self.average.module)

    def on_train_epoch_start(self) -> None:
        """Begin the random numbers of dropout anew: an epoch does not depend on those before."""
        torch.manual_seed(self.recipe.seed * 100_003 + self.current_epoch)
        self.losses.clear()

    def training_step(self, batch: Example, batch_idx: int) -> Tensor:
        """Return the loss of one batch.

        Args:
            batch: waveforms, label vectors and what is done to the features.
            batch_idx: number of the batch in the epoch.

        Returns:
            The loss, a scalar.

        Raises:
            TrainingError: the loss is not a finite number.
        """
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            features = self._features(batch)
            target = smooth(batch.target, self.recipe.label_smoothing)
        logits = self.model(features).float()
        if self.recipe.loss == "bce":
            loss = F.binary_cross_entropy_with_logits(logits, target)
        else:
            loss = F.cross_entropy(logits, spread(target))
        self.losses.append(loss.item())
        if not math.isfinite(self.losses[-1]):
            names = ", ".join(self.clip_names[place] for place in batch.clip.tolist())
            raise TrainingError(
                f"the loss is {self.losses[-1]} in epoch {self.current_epoch + 1}, "
                f"step {batch_idx + 1}; lower the learning rate or look at the clips: {names}"
            )
        return loss

    def _features(self, batch: Example) -> Tensor:
        """The model's input, augmented."""
        augment = self.recipe.augment
        features = self._plain_features(batch.waveform, batch.n_samples)
        if augment.mixes_features:
            others = self._plain_features(batch.second.waveform, batch.second.n_samples)
            features = blend(features, others, batch.second)
        return change_features(features, batch.changes, augment, self._front_end)

    def _plain_features(self, waveforms: Tensor, n_samples: Tensor) -> Tensor:
        """The model's input without augmentation; short clips end where the front end fills up."""
        if self.recipe.augment.short_clips == "pad":
            return audio.features(waveforms, self._front_end, n_samples)
        return audio.features(waveforms, self._front_end)

    @property
    def _front_end(self) -> FrontEnd:
        """How the input of training is made."""
        return self.recipe.training_front_end(self.front_end)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Shorten a long gradient.

        Raises:
            TrainingError: a gradient is not finite.
        """
        del optimizer, gradient_clip_val, gradient_clip_algorithm
        limit = self.recipe.clip_norm or torch.finfo(torch.float32).max
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        if not math.isfinite(norm.item()) and not self._will_skip_step():
            worst = next(
                name
                for name, weight in self.model.named_parameters()
                if weight.grad is not None and not weight.grad.isfinite().all()
            )
            raise TrainingError(
                f"the gradient of {worst} is not finite in epoch {self.current_epoch + 1}; "
                "lower the learning rate"
            )

    def _will_skip_step(self) -> bool:
        """Whether gradients overflowed float16 and the scale of the loss is lowered for it."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None) if self._trainer else None
        return scaler is not None and scaler.get_scale() > SMALLEST_SCALE

    def on_train_batch_end(self, outputs: Any, batch: Example, batch_idx: int) -> None:
        """Move the moving average of the weights, if they moved."""
        del outputs, batch
        if (
            self.average is not None
            and self.recipe.ema_decay is not None
            and self._moved(batch_idx)
        ):
            self.average.update_parameters(self.model)

    def on_train_epoch_end(self) -> None:
        """Add the weights to the mean over the last epochs, if this is one of them."""
        first = self.recipe.epochs - self.recipe.swa_epochs
        if self.average is not None and self.recipe.swa_epochs and self.current_epoch >= first:
            self.average.update_parameters(self.model)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer and its schedule, stepped after every step of the optimizer."""
        optimizer = new_optimizer(self.model, self.recipe)
        n_steps = math.ceil(self.n_steps / self.recipe.accumulate)
        schedule = LambdaLR(optimizer, learning_rate_fraction(self.recipe, n_steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _moved(self, batch_idx: int) -> bool:
        """Whether the optimizer made a step after a batch."""
        return (batch_idx + 1) % self.recipe.accumulate == 0 or batch_idx + 1 == self.n_steps


def smooth(target: Tensor, share: float) -> Tensor:
    """Replace a share of label vectors by the same value for every class.

    Args:
        target: (batch, classes).
        share: 0 for nothing.

    Returns:
        (batch, classes).
    """
    return target * (1 - share) + share / target.shape[-1]


def spread(target: Tensor) -> Tensor:
    """Share out what a label vector lacks to a sum of 1 among all classes.

    A clip that is none of the classes, whose vector is all 0, thus asks for even scores.

    Args:
        target: (batch, classes), sums of at most 1.

    Returns:
        (batch, classes), sums of 1.

    Source: Hendrycks, Mazeika, Dietterich, "Deep Anomaly Detection with Outlier Exposure" (2019).
    """
    return target + (1 - target.sum(dim=-1, keepdim=True)) / target.shape[-1]
