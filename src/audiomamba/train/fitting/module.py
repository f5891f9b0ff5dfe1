"""A model in training: features, loss, gradients, average of weights."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, cast

import numpy as np
import torch
from lightning.fabric.plugins.precision import Precision
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from audiomamba import audio
from audiomamba.audio import FrontEnd
from audiomamba.data import Example
from audiomamba.data.feature_changes import blend, change_features
from audiomamba.errors import RunFailedError
from audiomamba.models import AudioModel
from audiomamba.recipes import Recipe
from audiomamba.train.fitting import processes
from audiomamba.train.fitting.activations import checkpoint_blocks
from audiomamba.train.fitting.full_state import full_model, full_tensor
from audiomamba.train.fitting.losses import label_loss, smooth
from audiomamba.train.fitting.not_finite import name_layer, name_layer_of_gradient, record_outputs

__all__ = ["TrainingModule"]

if TYPE_CHECKING:
    from audiomamba.train.distillation.targets import DistillationTargets

SMALLEST_SCALE = 1e-3  # of the loss in float16: below it gradients overflow whatever the scale


class TrainingModule(nn.Module):
    """A model in training.

    Args:
        model: the model.
        recipe: how it is trained.
        front_end: how its input is made, statistics included.
        n_steps: batches in one epoch.
        clip_names: names of the training clips, for messages.
        distillation: what is learned from teachers; None for the labels alone.
        precision: that of the steps; None for float32.
    """

    def __init__(
        self,
        model: AudioModel,
        recipe: Recipe,
        front_end: FrontEnd,
        n_steps: int,
        clip_names: Sequence[str],
        *,
        distillation: "DistillationTargets | None" = None,
        precision: Precision | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.front_end = front_end
        self.n_steps = n_steps
        self.clip_names = clip_names
        self.distillation = distillation  # its models are no part of this one
        self.precision = precision or Precision()
        self.start_epoch(0)
        self._last: tuple[Example, int] | None = None
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

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; batch norms that are frozen stay in the latter.

        Args:
            mode: whether to train.

        Returns:
            The module itself.
        """
        super().train(mode)
        if self.recipe.freeze_batch_norm:
            for layer in self.model.modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()
        return self

    def start_epoch(self, epoch: int, loss_sum: float = 0.0, n_losses: int = 0) -> None:
        """Begin an epoch, or go on in the middle of one.

        Args:
            epoch: its number, from 0.
            loss_sum: sum of its losses so far.
            n_losses: how many these were.
        """
        self.epoch, self.loss_sum, self.n_losses = epoch, loss_sum, n_losses

    def forward(self, batch: Example, batch_idx: int) -> Tensor:
        """Return the loss of one batch.

        Args:
            batch: waveforms, label vectors and what is done to the features.
            batch_idx: number of the batch in the epoch.

        Returns:
            The loss, a scalar. Where processes train together it is weighted by the clips of this
            one, so that the mean over the processes is the mean over all clips of the step.

        Raises:
            RunFailedError: the loss is not a finite number.
        """
        self._last = batch, batch_idx
        self._seed(batch_idx)
        features, target, taught = self._inputs(batch)
        loss = self._loss(features, target, taught)
        value, n_clips = loss.item(), len(batch.clip)
        loss_sum, n_together = processes.total((value * n_clips, n_clips))
        if not math.isfinite(loss_sum):
            raise self._divergence(value, features, batch_idx)
        if processes.n_processes() > 1:
            value = loss_sum / n_together
            loss = loss * (n_clips * processes.n_processes() / n_together)
        self.loss_sum += value
        self.n_losses += 1
        return loss

    def _seed(self, batch_idx: int) -> None:
        """Begin the random numbers of dropout anew: a step does not depend on those before it."""
        key = (self.recipe.seed, self.epoch, batch_idx, processes.rank())
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))

    def _inputs(self, batch: Example) -> tuple[Tensor, Tensor, Tensor | None]:
        """The model's input, augmented, what it is to say, and what its teachers say."""
        taught = None
        if self.distillation is not None:
            batch, taught = self.distillation.for_batch(batch)
        with torch.no_grad(), torch.autocast(batch.waveform.device.type, enabled=False):
            target = smooth(batch.target, self.recipe.label_smoothing)
            return self._features(batch), target, taught

    def _loss(
        self,
        features: Tensor,
        target: Tensor,
        taught: Tensor | None,
        model: AudioModel | None = None,
    ) -> Tensor:
        """The mean loss of some clips."""
        logits = (model or self.model)(features).float()
        loss = label_loss(logits, target, self.recipe.loss)
        if self.distillation is None or taught is None:
            return loss
        return self.distillation.blend(loss, logits, taught)

    def _divergence(self, value: float, features: Tensor, batch_idx: int) -> RunFailedError:
        """The error for a loss that is not finite, here or in another process."""
        where = f"in epoch {self.epoch + 1}, step {batch_idx + 1}"
        model = full_model(self.model)
        if math.isfinite(value):
            return RunFailedError(f"the loss of another process is not finite {where}")
        self._seed(batch_idx)
        reason = name_layer(model, features)
        bad = ~features.flatten(1).isfinite().all(dim=1)
        return RunFailedError(
            f"the loss is {value} {where}: {reason}; lower the learning rate or look at the clips: "
            f"{self._names(bad if bad.any() else ~bad)}"
        )

    def _names(self, chosen: Tensor | None = None) -> str:
        """Names of the last batch's clips."""
        if self._last is None:
            return "none"
        clips = self._last[0].clip if chosen is None else self._last[0].clip[chosen]
        return ", ".join(self.clip_names[index] for index in clips.tolist())

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

    def clip_gradients(self) -> None:
        """Shorten a long gradient.

        Raises:
            RunFailedError: a gradient is not finite.
        """
        limit = self.recipe.clip_norm or torch.finfo(torch.float32).max
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        if not math.isfinite(full_tensor(norm).item()) and not self._will_skip_step():
            raise RunFailedError(
                f"the gradient of {self._worst_gradient()} is not finite in epoch "
                f"{self.epoch + 1}; lower the learning rate or look at the clips: "
                f"{self._names()}"
            )

    def _worst_gradient(self) -> str:
        """Where on the way back the gradient is not finite first: at a layer, or at a weight."""
        if self._last is not None:
            batch, batch_idx = self._last
            self._seed(batch_idx)
            model = full_model(self.model)
            with (
                torch.enable_grad(),
                self.precision.forward_context(),
                record_outputs(model) as outputs,
            ):
                loss = self._loss(*self._inputs(batch), model)
            layer = name_layer_of_gradient(loss, list(outputs))
            if layer is not None:
                return f"the output of {layer}"
        weights = reversed(list(self.model.named_parameters()))
        bad = (
            name
            for name, weight in weights
            if weight.grad is not None and not full_tensor(weight.grad).isfinite().all()
        )
        return next(bad, "all weights together")

    def _will_skip_step(self) -> bool:
        """Whether gradients overflowed float16 and the scale of the loss is lowered for it."""
        scaler = getattr(self.precision, "scaler", None)
        return scaler is not None and scaler.get_scale() > SMALLEST_SCALE

    def ends_step(self, batch_idx: int) -> bool:
        """Tell whether the optimizer makes a step after a batch.

        Args:
            batch_idx: number of the batch in the epoch.
        """
        return (batch_idx + 1) % self.recipe.accumulate == 0 or batch_idx + 1 == self.n_steps

    def end_batch(self, batch_idx: int) -> None:
        """Move the moving average of the weights, if they moved.

        Args:
            batch_idx: number of the batch in the epoch.
        """
        if (
            self.average is not None
            and self.recipe.ema_decay is not None
            and self.ends_step(batch_idx)
        ):
            self.average.update_parameters(self.model)

    def gather(self) -> None:
        """Put sharded weights together again; all processes have to call this."""
        self.model = full_model(self.model)
        if self.average is not None:
            self.average.module = full_model(cast(AudioModel, self.average.module))

    def end_epoch(self) -> None:
        """Add the weights to the mean over the last epochs, if this is one of them."""
        first = self.recipe.epochs - self.recipe.swa_epochs
        if self.average is not None and self.recipe.swa_epochs and self.epoch >= first:
            self.average.update_parameters(self.model)
