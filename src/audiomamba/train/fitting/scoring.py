"""Figures of a model in training on the clips that were held out."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from audiomamba import metrics
from audiomamba.data import EvaluationDataset
from audiomamba.models import AudioModel

__all__ = ["predict", "score"]


def predict(
    model: AudioModel,
    clips: EvaluationDataset,
    batch_size: int,
    call: Callable[[Tensor, Tensor | None], Tensor] | None = None,
) -> Tensor:
    """Run a model over the first window of clips, in evaluation mode.

    Short clips that are not padded get what they get alone.

    Args:
        model: the model; its mode is put back afterwards.
        clips: the clips.
        batch_size: clips at a time.
        call: the method to call, such as model.embed; None for the model itself.

    Returns:
        Logits (clips, classes), or what the method gives, float32 on the CPU.
    """
    call = call or model
    device = next(model.parameters()).device
    modes = {layer: layer.training for layer in model.modules()}  # of some layers it may differ
    model.eval()
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        outputs = [
            call(features.to(device), lengths).float().cpu()
            for features, lengths in DataLoader(
                clips, batch_size, collate_fn=_together, generator=torch.Generator()
            )
        ]
    for layer, is_training in modes.items():
        layer.training = is_training
    return torch.cat(outputs)


def _together(clips: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor | None]:
    """Features of clips as one batch, and the frames of each where they differ."""
    features = [own for own, _target in clips]
    lengths = torch.tensor([len(own) for own in features])
    is_even = bool((lengths == lengths[0]).all())
    return pad_sequence(features, batch_first=True), None if is_even else lengths


def score(
    logits: Tensor, targets: np.ndarray, labels: tuple[str, ...], loss: str
) -> dict[str, float]:
    """Return the metrics that a run writes down for its held-out clips.

    Args:
        logits: (clips, classes).
        targets: (clips, classes) of zeros and ones.
        labels: names of the classes.
        loss: "bce" or "ce".

    Returns:
        Accuracy, mean average precision, mean AUC, d-prime and log loss by name; those that are not
        finite are left out.
    """
    wanted = torch.from_numpy(targets)
    if loss == "bce":
        scores, log_loss = logits.sigmoid(), F.binary_cross_entropy_with_logits(logits, wanted)
    else:
        scores, log_loss = logits.softmax(dim=-1), F.cross_entropy(logits, wanted)
    found = metrics.compute(scores.numpy(), targets, labels)
    values = {
        "accuracy": found.accuracy,
        "mean_average_precision": found.mean_average_precision,
        "mean_auc": found.mean_auc,
        "d_prime": found.d_prime,
        "log_loss": log_loss.item(),
    }
    return {name: value for name, value in values.items() if math.isfinite(value)}
