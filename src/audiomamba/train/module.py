"""One training step, for Lightning: features, loss, optimizer, schedule, average of weights."""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from audiomamba import audio
from audiomamba.audio import FrontEnd
from audiomamba.data import Example
from audiomamba.errors import TrainingError
from audiomamba.models import AudioModel
from audiomamba.recipes import Recipe

__all__ = ["TrainingModule", "hide", "learning_rate_fraction", "smooth", "spread", "weight_groups"]

# Last parts of the names of weights that no weight decay is put on, whatever their shape.
UNDECAYED = frozenset(
    {
        "A_log",
        "A_b_log",
        "D",
        "D_b",
        "pos_embed",
        "cls_token",
        "cls_token_head",
        "cls_token_tail",
        "relative_position_bias_table",
    }
)


class TrainingModule(pl.LightningModule):
    """A model in training.

    Args:
        model: the model.
        recipe: how it is trained.
        front_end: how its input is made, statistics included.
        n_steps: steps in one epoch.
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
            self.average.requires_grad_(False)

    @property
    def final_model(self) -> AudioModel:
        """The model that the run hands over: the average if there is one."""
        return self.model if self.average is None else cast(AudioModel, self.average.module)

    def on_train_epoch_start(self) -> None:
        """Begin the random numbers of dropout anew: an epoch does not depend on those before."""
        torch.manual_seed(self.recipe.seed * 100_003 + self.current_epoch)
        self.losses.clear()

    def training_step(self, batch: Example, batch_idx: int) -> Tensor:
        """Return the loss of one batch.

        Args:
            batch: waveforms, label vectors and masks.
            batch_idx: number of the batch in the epoch.

        Returns:
            The loss, a scalar.

        Raises:
            TrainingError: the loss is not a finite number.
        """
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            front_end = self.recipe.training_front_end(self.front_end)
            features = audio.features(batch.waveform, front_end)
            features = hide(features, batch.mel_masks, batch.frame_masks)
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
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        if not math.isfinite(norm.item()):
            worst = next(
                name
                for name, weight in self.model.named_parameters()
                if weight.grad is not None and not weight.grad.isfinite().all()
            )
            raise TrainingError(
                f"the gradient of {worst} is not finite in epoch {self.current_epoch + 1}; "
                "lower the learning rate"
            )

    def on_train_batch_end(self, outputs: Any, batch: Example, batch_idx: int) -> None:
        """Move the average of the weights."""
        del outputs, batch, batch_idx
        if self.average is not None:
            self.average.update_parameters(self.model)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW and its schedule, stepped after every batch."""
        optimizer = AdamW(
            weight_groups(self.model, self.recipe.weight_decay),
            lr=self.recipe.learning_rate,
            betas=self.recipe.betas,
        )
        schedule = LambdaLR(optimizer, learning_rate_fraction(self.recipe, self.n_steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def learning_rate_fraction(recipe: Recipe, n_steps: int) -> Callable[[int], float]:
    """Return the schedule: a linear rise, then half a cosine down.

    Args:
        recipe: the recipe.
        n_steps: steps in one epoch.

    Returns:
        The share of the highest learning rate at a step, counted from 0.
    """
    warmup = min(recipe.warmup_epochs, recipe.epochs) * n_steps
    rest = max(1, recipe.epochs * n_steps - warmup)

    def fraction(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / rest)))
        return recipe.final_lr_fraction + (1 - recipe.final_lr_fraction) * cosine

    return fraction


def weight_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Divide the weights by whether weight decay is put on them.

    Args:
        model: the model.
        weight_decay: for matrices and kernels; not for vectors, positions, tokens, A and D.

    Returns:
        Two groups for an optimizer.
    """
    decayed: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, weight in model.named_parameters():
        free = weight.ndim < 2 or name.rpartition(".")[2] in UNDECAYED
        (rest if free else decayed).append(weight)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]


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


def hide(features: Tensor, mel_masks: Tensor, frame_masks: Tensor) -> Tensor:
    """Set ranges of normalized features to 0, the data set's mean.

    Args:
        features: (batch, frames, mels).
        mel_masks: (batch, masks, 2) first and past-the-last mel bins.
        frame_masks: (batch, masks, 2) first and past-the-last frames.

    Returns:
        (batch, frames, mels).

    Source: SpecAugment (Park et al. 2019), section 2.
    """
    _, frames, mels = features.shape
    hidden = _within(frame_masks, frames)[:, :, None] | _within(mel_masks, mels)[:, None, :]
    return features.masked_fill(hidden, 0.0)


def _within(ranges: Tensor, length: int) -> Tensor:
    """(batch, length) of whether a place is in any of the ranges (batch, masks, 2)."""
    place = torch.arange(length, device=ranges.device)
    inside = (place >= ranges[..., :1]) & (place < ranges[..., 1:])
    return inside.any(dim=1)
