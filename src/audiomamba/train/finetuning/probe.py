"""A linear head on a frozen encoder: logistic regression on embeddings that are computed once.

Where the encoder is trained on afterwards, this is the first step: a head that fits already leaves
the encoder its low learning rate. That head may be made of a part of the clips.
"""

import time
from collections.abc import Callable, Sequence
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

__all__ = ["fit_head", "probe_checkpoint", "quick_probe", "takes_linear_head"]

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse of the penalty on large weights
N_FOLDS = 5
MOST_CLIPS = 5_000  # that a quick probe embeds
LEAST_ROUNDS = 2  # clips of each class that it embeds, however long that takes
MOST_SEARCHED = 150_000  # clips times classes up to which it searches for the best strength
USUAL_STRENGTH = 1e-2
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
    checkpoint = _with_fresh_head(start, manifest)
    embeddings = _embed(checkpoint, split.training, progress)
    return _with_fitted_head(checkpoint, embeddings, manifest.targets(split.training), STRENGTHS)


def quick_probe(
    start: Start, manifest: Manifest, split: Split, time_s: float, progress: Progress | None = None
) -> Checkpoint:
    """Give a trained model a first head for other classes, of the clips that there is time for.

    Args:
        start: the trained model.
        manifest: the clips.
        split: the clips to learn from, and those held out.
        time_s: seconds that embedding may take; two clips of each class are embedded at least.
        progress: as for probe_checkpoint.

    Returns:
        The model with its new head and labels.

    Raises:
        ConfigError: as for probe_checkpoint.
        AudioError: a clip cannot be read.
        MissingDependencyError: scikit-learn is not installed.
    """
    checkpoint = _with_fresh_head(start, manifest)
    targets = manifest.targets(split.training)
    order = _in_turns(targets)[:MOST_CLIPS]
    ends, n_least = time.perf_counter() + time_s, LEAST_ROUNDS * len(manifest.labels)
    embeddings = _embed(
        checkpoint,
        split.training.take(order),
        progress,
        lambda n_done: n_done >= n_least and time.perf_counter() >= ends,
    )
    targets = targets[order[: len(embeddings)]]
    strengths = STRENGTHS if targets.size <= MOST_SEARCHED else (USUAL_STRENGTH,)
    return _with_fitted_head(checkpoint, embeddings, targets, strengths)


def takes_linear_head(start: Start) -> bool:
    """Tell whether a model is trained, and its head for other classes reads one vector per clip.

    Args:
        start: the model; its head is a fresh one afterwards.
    """
    if start.checkpoint is None:
        return False
    model = start.checkpoint.model
    model.reset_head(model.config.n_classes)
    return isinstance(model.head, nn.Linear)


def _with_fresh_head(start: Start, manifest: Manifest) -> Checkpoint:
    """The trained model with a fresh linear head for the clips' classes."""
    if find_spec("sklearn") is None:
        raise MissingDependencyError("scikit-learn", "train", "a head that is fitted")
    if start.checkpoint is None:
        raise ConfigError(f"{start.model} has fresh weights; expected a trained model")
    if not takes_linear_head(start):
        raise ConfigError(
            f"the head of {start.checkpoint.name} is not a linear one on one vector per clip, "
            "so there can be no probe; leave --probe out"
        )
    start.checkpoint.model.reset_head(len(manifest.labels))
    return replace(
        start.checkpoint,
        labels=manifest.labels,
        scores="softmax" if manifest.single_label else "sigmoid",
        ood_detector=None,
        thresholds=None,
        hidden=(),
        parents={},
    )


def _with_fitted_head(
    checkpoint: Checkpoint, embeddings: np.ndarray, targets: np.ndarray, strengths: Sequence[float]
) -> Checkpoint:
    """The same model, its head fitted to embeddings."""
    single = checkpoint.scores == "softmax"
    weight, bias = fit_head(embeddings, targets, single=single, strengths=strengths)
    fitted = {"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)}
    checkpoint.model.head.load_state_dict(fitted)
    return checkpoint


def _in_turns(targets: np.ndarray) -> np.ndarray:
    """An order of clips in which the classes take turns, those without a class too."""
    order = np.random.default_rng(0).permutation(len(targets))
    kind = np.where(targets.any(axis=1), targets.argmax(axis=1), -1)[order]
    turn = np.empty(len(order), dtype=np.int64)
    for one in np.unique(kind):
        turn[kind == one] = np.arange((kind == one).sum())
    found: np.ndarray = order[np.argsort(turn, kind="stable")]
    return found


def fit_head(
    embeddings: np.ndarray,
    targets: np.ndarray,
    *,
    single: bool,
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a linear classifier; how strongly is decided by cross-validation.

    Args:
        embeddings: (clips, dim).
        targets: (clips, classes) of zeros and ones.
        single: whether every clip has one label.
        strengths: inverses of the penalty on large weights to choose from.

    Returns:
        Weights (classes, dim) and biases (classes,), float64, for logits of softmax if single, else
        of sigmoid.
    """
    mean, spread = embeddings.mean(axis=0), embeddings.std(axis=0) + 1e-6
    scaled = (embeddings - mean) / spread
    if single:
        weight, bias = _softmax_head(scaled, targets.argmax(axis=1), targets.shape[1], strengths)
    else:
        heads = [_binary_head(scaled, column, strengths) for column in targets.T > 0.5]
        weight, bias = np.stack([w for w, _ in heads]), np.array([b for _, b in heads])
    weight = weight / spread
    return weight, bias - weight @ mean


def _embed(
    checkpoint: Checkpoint,
    clips: Clips,
    progress: Progress | None,
    is_enough: Callable[[int], bool] = lambda _: False,
) -> np.ndarray:
    """Embeddings (clips, dim) of the first clips, each the mean over its windows."""
    tagger = Tagger(checkpoint)
    rate = tagger.front_end.sample_rate
    rows: list[np.ndarray] = []
    for index, clip in enumerate(clips):
        rows.append(tagger.embed((load_clip(clip, rate), rate)).double().numpy())
        if progress is not None:
            progress(index + 1, len(clips))
        if is_enough(len(rows)):
            break
    return np.stack(rows)


def _softmax_head(
    scaled: np.ndarray, classes: np.ndarray, n_classes: int, strengths: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases of one classifier for all classes."""
    weight, bias, known = _logistic(scaled, classes, strengths)
    if len(known) == 2:  # the classifier gives the second's logit alone
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    all_weights, all_biases = np.zeros((n_classes, scaled.shape[1])), np.full(n_classes, -CERTAIN)
    all_weights[known], all_biases[known] = weight, bias
    return all_weights, all_biases


def _binary_head(
    scaled: np.ndarray, has: np.ndarray, strengths: Sequence[float]
) -> tuple[np.ndarray, float]:
    """Weights and bias of one class against the rest."""
    if has.all() or not has.any():
        return np.zeros(scaled.shape[1]), CERTAIN if has.all() else -CERTAIN
    weight, bias, _ = _logistic(scaled, has.astype(int), strengths)
    return weight[0], float(bias[0])


def _logistic(
    scaled: np.ndarray, classes: np.ndarray, strengths: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients and intercepts of a logistic regression, and its classes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    model = LogisticRegression(C=strengths[0] if len(strengths) == 1 else 1.0, max_iter=2000)
    n_folds = min(N_FOLDS, int(np.unique(classes, return_counts=True)[1].min()))
    if n_folds >= 2 and len(strengths) > 1:
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=0)
        search = GridSearchCV(model, {"C": list(strengths)}, cv=folds, scoring="neg_log_loss")
        model = search.fit(scaled, classes).best_estimator_
    else:
        model.fit(scaled, classes)
    return model.coef_, model.intercept_, model.classes_
