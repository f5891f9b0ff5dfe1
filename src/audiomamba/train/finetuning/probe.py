"""A linear head on a frozen encoder: logistic regression on embeddings that are computed once."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import torch
from torch import nn

from audiomamba.checkpoints import Checkpoint
from audiomamba.data import Clips, Manifest
from audiomamba.data.clip_reader import load_clip
from audiomamba.errors import ConfigError, MissingDependencyError
from audiomamba.infer import Tagger
from audiomamba.progress import Progress
from audiomamba.train.finetuning.auto_recipe import Start
from audiomamba.train.split import Split

__all__ = ["fit_head", "probe_checkpoint"]

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse of the penalty on large weights
N_FOLDS = 5
CERTAIN = 6.0  # logit of a class that all clips have, or none


def probe_checkpoint(
    start: Start, manifest: Manifest, split: Split, progress: Progress | None = None
) -> Checkpoint:
    """Give a trained model a head for other classes, and leave all else as it is.

    Args:
        start: the trained model.
        manifest: the clips.
        split: the clips to learn from, and those held out.
        progress: called with the number of clips that are embedded, and of all.

    Returns:
        The model with its new head and labels.

    Raises:
        ConfigError: the model's head does not read one vector per clip.
        AudioError: a clip cannot be read.
        MissingDependencyError: scikit-learn is not installed.
    """
    if find_spec("sklearn") is None:
        raise MissingDependencyError("scikit-learn", "train", "a probe")
    if start.checkpoint is None:
        raise ConfigError(f"{start.model} has fresh weights; expected a trained model")
    model = start.checkpoint.model
    model.reset_head(len(manifest.labels))
    if not isinstance(model.head, nn.Linear):
        raise ConfigError(
            f"the head of {start.checkpoint.name} is not a linear one on one vector per clip, "
            "so there can be no probe; leave --probe out"
        )
    embeddings = _embed(Tagger(start.checkpoint), split.training, progress)
    targets = manifest.targets(split.training)
    weight, bias = fit_head(embeddings, targets, single=manifest.single_label)
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(weight))
        model.head.bias.copy_(torch.from_numpy(bias))
    return replace(
        start.checkpoint,
        labels=manifest.labels,
        scores="softmax" if manifest.single_label else "sigmoid",
        ood_detector=None,
        thresholds=None,
        hidden=(),
        parents={},
    )


def fit_head(
    embeddings: np.ndarray, targets: np.ndarray, *, single: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a linear classifier; how strongly is decided by cross-validation.

    Args:
        embeddings: (clips, dim).
        targets: (clips, classes) of zeros and ones.
        single: whether every clip has one label.

    Returns:
        Weights (classes, dim) and biases (classes,), float64, for logits of softmax if single, else
        of sigmoid.
    """
    mean, spread = embeddings.mean(axis=0), embeddings.std(axis=0) + 1e-6
    scaled = (embeddings - mean) / spread
    if single:
        weight, bias = _softmax_head(scaled, targets.argmax(axis=1), targets.shape[1])
    else:
        heads = [_binary_head(scaled, column) for column in targets.T > 0.5]
        weight, bias = np.stack([w for w, _ in heads]), np.array([b for _, b in heads])
    weight = weight / spread
    return weight, bias - weight @ mean


def _embed(tagger: Tagger, clips: Clips, progress: Progress | None) -> np.ndarray:
    """Embeddings (clips, dim) of clips, each the mean over its windows."""
    rate = tagger.front_end.sample_rate
    rows = []
    for index, clip in enumerate(clips):
        rows.append(tagger.embed((load_clip(clip, rate), rate)).double().numpy())
        if progress is not None:
            progress(index + 1, len(clips))
    return np.stack(rows)


def _softmax_head(
    scaled: np.ndarray, classes: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases of one classifier for all classes."""
    weight, bias, known = _logistic(scaled, classes)
    if len(known) == 2:  # the classifier gives the second's logit alone
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    all_weights, all_biases = np.zeros((n_classes, scaled.shape[1])), np.full(n_classes, -CERTAIN)
    all_weights[known], all_biases[known] = weight, bias
    return all_weights, all_biases


def _binary_head(scaled: np.ndarray, has: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and bias of one class against the rest."""
    if has.all() or not has.any():
        return np.zeros(scaled.shape[1]), CERTAIN if has.all() else -CERTAIN
    weight, bias, _ = _logistic(scaled, has.astype(int))
    return weight[0], float(bias[0])


def _logistic(scaled: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients and intercepts of a logistic regression, and its classes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    model = LogisticRegression(max_iter=2000)
    n_folds = min(N_FOLDS, int(np.unique(classes, return_counts=True)[1].min()))
    if n_folds >= 2:
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=0)
        search = GridSearchCV(model, {"C": STRENGTHS}, cv=folds, scoring="neg_log_loss")
        model = search.fit(scaled, classes).best_estimator_
    else:
        model.fit(scaled, classes)
    return model.coef_, model.intercept_, model.classes_
