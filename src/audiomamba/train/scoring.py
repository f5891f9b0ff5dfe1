"""Evaluation of a model on clips with known labels."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from audiomamba import checkpoints, metrics
from audiomamba.data import Clip, EvaluationSet, Manifest, open_manifest
from audiomamba.errors import ConfigError, DataError
from audiomamba.metrics import Metrics
from audiomamba.models import AudioModel
from audiomamba.recipes import from_dict
from audiomamba.train.parts import divide

__all__ = ["Evaluation", "evaluate", "predict", "score"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What evaluate found.

    Args:
        model: the model's folder.
        data: the data set.
        split: the part that was evaluated; None for all clips.
        metrics: the figures.
        seconds: time it took, decoding included.
    """

    model: Path
    data: Path
    split: str | None
    metrics: Metrics
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the same as dictionaries, lists, numbers and strings."""
        return {
            "model": str(self.model),
            "data": str(self.data),
            "split": self.split,
            "metrics": self.metrics.to_dict(),
            "seconds": self.seconds,
        }


def evaluate(
    model: str | Path,
    data: Path,
    *,
    corpus: str | None = None,
    split: str | None = None,
    batch_size: int = 16,
    n_threads: int | None = None,
) -> Evaluation:
    """Evaluate a model on a data set, in float32, on the first n_frames of each clip.

    Args:
        model: a run's folder, a model's folder, or the name of a model that ships with the package.
        data: the data set.
        corpus: its layout, as for data.open_manifest.
        split: the part to evaluate, such as "1" for fold 1, or "all". Without it a run's folder is
            evaluated on what that run held out, if this is the run's data set; and everything else
            on all clips.
        batch_size: clips at a time.
        n_threads: processor threads; None to leave them as they are.

    Returns:
        The figures.

    Raises:
        DataError: the data set is not what it should be, or has a label that the model has not.
        AudioError: a clip cannot be read.
        CheckpointError: the model cannot be loaded.
        UnknownNameError: there is no such model or corpus.
    """
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    started = time.perf_counter()
    folder = checkpoints.find(model)
    checkpoint = checkpoints.load(folder)
    record = _record(Path(folder))
    if corpus is None and record is not None:
        corpus = record["recipe"]["corpus"]
    if checkpoint.front_end is None:
        raise ConfigError(f"{folder} is a model of images; expected one of sound")
    manifest = open_manifest(data, corpus)
    split, clips = _choose(manifest, split, record)
    unknown = [label for label in manifest.labels if label not in checkpoint.labels]
    if unknown:
        raise DataError(
            f"{folder} does not know the label {unknown[0]!r} of {data}; "
            f"it knows {', '.join(checkpoint.labels[:5])} ..."
        )
    targets = replace(manifest, labels=checkpoint.labels).targets(clips)
    logits = predict(
        checkpoint.model, EvaluationSet(clips, targets, checkpoint.front_end, 0), batch_size
    )
    scores = logits.sigmoid() if checkpoint.scores == "sigmoid" else logits.softmax(dim=-1)
    return Evaluation(
        model=Path(folder),
        data=data,
        split=split,
        metrics=metrics.compute(scores.numpy(), targets, checkpoint.labels),
        seconds=time.perf_counter() - started,
    )


def predict(
    model: AudioModel,
    clips: EvaluationSet,
    batch_size: int,
    call: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Run a model over clips in evaluation mode.

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
    was_training = model.training
    model.eval()
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        parts = [
            call(features.to(device)).float().cpu()
            for features, _ in DataLoader(clips, batch_size, generator=torch.Generator())
        ]
    model.train(was_training)
    return torch.cat(parts)


def score(
    logits: Tensor, targets: np.ndarray, labels: tuple[str, ...], loss: str
) -> dict[str, float]:
    """Return the figures that a run writes down for its held-out clips.

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
    figures = {
        "accuracy": found.accuracy,
        "mean_average_precision": found.mean_average_precision,
        "mean_auc": found.mean_auc,
        "d_prime": found.d_prime,
        "log_loss": log_loss.item(),
    }
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def _record(folder: Path) -> Mapping[str, Any] | None:
    """The record of the run that a model folder belongs to, if any."""
    for path in (folder / "run.json", folder.parent / "run.json"):
        if path.is_file():
            record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return record
    return None


def _choose(
    manifest: Manifest, split: str | None, record: Mapping[str, Any] | None
) -> tuple[str | None, Sequence[Clip]]:
    """The part to evaluate and its clips."""
    if split == "all":
        return None, manifest.clips
    if split is not None:
        return split, manifest.select(split)
    if record is None or record["data"]["fingerprint"] != manifest.fingerprint:
        return None, manifest.clips
    recipe = from_dict(record["recipe"])
    parts = divide(manifest, record["data"]["held_out"], recipe.seed)
    return parts.name, parts.held_out or manifest.clips
