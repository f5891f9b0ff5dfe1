"""Scores of a classifier: accuracy, average precision, area under the ROC curve, d-prime, F1."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from audiomamba.errors import DataError, MissingDependencyError

__all__ = [
    "ClassMetrics",
    "Interval",
    "Metrics",
    "best_thresholds",
    "bootstrap",
    "compute",
    "d_prime",
]

USUAL_THRESHOLD = 0.5
CELLS_AT_ONCE = 1 << 22  # resamples times clips that are held in memory


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """How well one class is told from the others.

    Args:
        label: name of the class.
        n_clips: clips that have the label.
        average_precision: area under the precision-recall curve; None without such clips.
        auc: area under the ROC curve; None if all clips have the label or none has.
        threshold: clips with at least this score are given the class; None if each clip is given
            the class of its highest score.
        precision: share of the clips given the class that have its label; None if none was given.
        recall: share of the clips with its label that were given the class; None without such.
        f1: harmonic mean of the two, 0 if no clip was rightly given the class; None without clips.

    Examples:
        >>> found = compute(np.eye(2), np.eye(2), ["dog", "rain"]).classes[0]
        >>> found.label, found.n_clips, found.average_precision, found.recall
        ('dog', 1, 1.0, 1.0)
    """

    label: str
    n_clips: int
    average_precision: float | None
    auc: float | None
    threshold: float | None
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Where a metric would lie if other clips of the same kinds had been drawn.

    Args:
        low: lower end.
        high: upper end.
        confidence: share of the resamples whose metric lies within.

    Examples:
        >>> interval = Interval(low=0.81, high=0.93, confidence=0.95)
        >>> interval.low <= 0.9 <= interval.high
        True
    """

    low: float
    high: float
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """How well scores agree with labels.

    Args:
        n_clips: number of clips.
        accuracy: share of clips whose highest score is at their label; of several labels the first
            in the order of the classes counts, as in the papers.
        mean_average_precision: mean over the classes that have clips.
        mean_auc: mean over the classes that have clips with and without the label.
        d_prime: sqrt(2) times the normal quantile of mean_auc.
        f1_micro: F1 over all pairs of clip and class, of classes that have clips.
        f1_macro: mean F1 over the classes that have clips.
        classes: each class, in the order of the model's outputs.
        left_out: classes without clips, which no mean includes.
        confusion: clips by true class and class of the highest score; None if any clip has several
            labels or none.

    Examples:
        >>> found = compute(np.eye(2), np.eye(2), ["dog", "rain"])
        >>> found.n_clips, found.accuracy, found.left_out
        (2, 1.0, ())
    """

    n_clips: int
    accuracy: float
    mean_average_precision: float
    mean_auc: float
    d_prime: float
    f1_micro: float
    f1_macro: float
    classes: tuple[ClassMetrics, ...]
    left_out: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...] | None

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data that JSON can hold: None for what is not finite."""
        plain = asdict(self)
        for name in ("mean_average_precision", "mean_auc", "d_prime", "f1_micro", "f1_macro"):
            plain[name] = plain[name] if math.isfinite(plain[name]) else None
        return plain


def compute(
    scores: np.ndarray,
    targets: np.ndarray,
    labels: Sequence[str],
    thresholds: Sequence[float] | None = None,
) -> Metrics:
    """Compare scores with labels.

    Args:
        scores: (clips, classes), higher for more likely; finite.
        targets: (clips, classes) of zeros and ones.
        labels: names of the classes.
        thresholds: (classes,) the scores from which on a clip is given a class. None for the class
            of the highest score if every clip has one label, else for 0.5.

    Returns:
        The metrics.

    Raises:
        DataError: the shapes do not agree, or scores are not finite.
        MissingDependencyError: scikit-learn is not installed.

    Source: the evaluation of AST and AuM.

    Examples:
        >>> scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
        >>> targets = np.array([[1, 0], [0, 1], [0, 1], [0, 1]])
        >>> found = compute(scores, targets, ["dog", "rain"])
        >>> found.accuracy, found.confusion
        (0.75, ((1, 0), (1, 2)))
    """
    present = _checked(scores, targets, len(labels))
    best = scores.argmax(axis=1)
    single = bool((present.sum(axis=1) == 1).all())
    limits = _limits(thresholds, len(labels), single=single)
    given = np.eye(len(labels), dtype=bool)[best] if limits is None else scores >= limits
    classes = tuple(
        _one_class(
            label,
            scores[:, index],
            present[:, index],
            given[:, index],
            None if limits is None else float(limits[index]),
        )
        for index, label in enumerate(labels)
    )
    mean_auc = _mean([one.auc for one in classes])
    return Metrics(
        n_clips=len(scores),
        accuracy=float((present.argmax(axis=1) == best).mean()),
        mean_average_precision=_mean([one.average_precision for one in classes]),
        mean_auc=mean_auc,
        d_prime=d_prime(mean_auc),
        f1_micro=_f1_micro(present, given),
        f1_macro=_mean([one.f1 for one in classes]),
        classes=classes,
        left_out=tuple(one.label for one in classes if not one.n_clips),
        confusion=_confusion(present.argmax(axis=1), best, len(labels)) if single else None,
    )


def best_thresholds(scores: np.ndarray, targets: np.ndarray) -> tuple[float, ...]:
    """Find the threshold of each class that gives the highest F1.

    Args:
        scores: (clips, classes), from 0 to 1.
        targets: (clips, classes) of zeros and ones.

    Returns:
        One threshold per class, halfway between the scores that it parts; 0.5 for classes without
        clips.

    Raises:
        DataError: the shapes do not agree, or scores are not finite.
        MissingDependencyError: scikit-learn is not installed.

    Examples:
        >>> scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
        >>> targets = np.array([[1, 0], [0, 1], [0, 1], [0, 1]])
        >>> best_thresholds(scores, targets)
        (0.75, 0.25)
    """
    present = _checked(scores, targets, scores.shape[1])
    return tuple(
        _best_threshold(scores[:, index], present[:, index]) for index in range(scores.shape[1])
    )


def bootstrap(
    scores: np.ndarray,
    targets: np.ndarray,
    *,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Say how far accuracy and mean average precision depend on which clips there are.

    Clips are drawn anew with replacement, as many as there are. A class that no drawn clip has is
    left out of that resample's mean.

    Args:
        scores: (clips, classes), higher for more likely; finite.
        targets: (clips, classes) of zeros and ones.
        n_resamples: how often they are drawn, at least 1.
        confidence: share of the resamples that the intervals hold, more than 0 and less than 1.
        seed: of the draws.

    Returns:
        The intervals of "accuracy" and "mean_average_precision".

    Raises:
        DataError: the shapes do not agree, or scores are not finite.

    Source: Efron, "Bootstrap Methods: Another Look at the Jackknife" (1979); percentile intervals.

    Examples:
        >>> scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
        >>> targets = np.array([[1, 0], [0, 1], [0, 1], [0, 1]])
        >>> interval = bootstrap(scores, targets, n_resamples=200)["accuracy"]
        >>> interval.low, interval.high
        (0.25, 1.0)
    """
    present = _checked(scores, targets, scores.shape[1])
    right = present.argmax(axis=1) == scores.argmax(axis=1)
    rng, n_clips = np.random.default_rng(seed), len(scores)
    accuracies, precisions = [], []
    for first in range(0, n_resamples, step := max(1, CELLS_AT_ONCE // n_clips)):
        size = min(step, n_resamples - first)
        counts = rng.multinomial(n_clips, np.full(n_clips, 1 / n_clips), size=size)
        counts = counts.astype(np.float64)
        accuracies.append(counts @ right / n_clips)
        precisions.append(_resampled_precision(scores, present, counts))
    return {
        "accuracy": _interval(np.concatenate(accuracies), confidence),
        "mean_average_precision": _interval(np.concatenate(precisions), confidence),
    }


def d_prime(auc: float) -> float:
    """Turn an area under the ROC curve into a distance of two normal distributions.

    Args:
        auc: the area, 0 to 1.

    Returns:
        The distance in standard deviations; infinite at 0 and 1.

    Examples:
        >>> round(d_prime(0.95), 3)
        2.326
    """
    if not 0 < auc < 1:
        return math.nan if math.isnan(auc) else math.copysign(math.inf, auc - 0.5)
    return math.sqrt(2) * NormalDist().inv_cdf(auc)


def _checked(scores: np.ndarray, targets: np.ndarray, n_classes: int) -> np.ndarray:
    """Which clip has which label, (clips, classes) bool."""
    if scores.shape != targets.shape or scores.shape[1:] != (n_classes,) or not len(scores):
        raise DataError(
            f"scores are {scores.shape} and targets {targets.shape}; "
            f"expected both (clips, {n_classes}) with at least one clip"
        )
    if not np.isfinite(scores).all():
        raise DataError(f"{np.count_nonzero(~np.isfinite(scores))} scores are not finite numbers")
    present: np.ndarray = targets > 0.5
    return present


def _limits(
    thresholds: Sequence[float] | None, n_classes: int, *, single: bool
) -> np.ndarray | None:
    """The threshold of each class; None to go by the highest score."""
    if thresholds is None:
        return None if single else np.full(n_classes, USUAL_THRESHOLD)
    if len(thresholds) != n_classes:
        raise DataError(f"{len(thresholds)} thresholds were given; expected {n_classes}")
    return np.asarray(thresholds)


def _one_class(
    label: str, scores: np.ndarray, present: np.ndarray, given: np.ndarray, threshold: float | None
) -> ClassMetrics:
    """Metrics of one class."""
    try:
        from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
    except ImportError as error:
        raise MissingDependencyError("scikit-learn", "train", "evaluation") from error
    n_clips = int(present.sum())
    mixed = 0 < n_clips < len(present)
    return ClassMetrics(
        label=label,
        n_clips=n_clips,
        average_precision=float(average_precision_score(present, scores)) if n_clips else None,
        auc=float(roc_auc_score(present, scores)) if mixed else None,
        threshold=threshold,
        precision=float(present[given].mean()) if given.any() else None,
        recall=float(given[present].mean()) if n_clips else None,
        f1=float(f1_score(present, given, zero_division=0.0)) if n_clips else None,
    )


def _f1_micro(present: np.ndarray, given: np.ndarray) -> float:
    """F1 over all classes that have clips; nan if none has."""
    from sklearn.metrics import f1_score

    kept = present.any(axis=0)
    if not kept.any():
        return math.nan
    return float(f1_score(present[:, kept].ravel(), given[:, kept].ravel(), zero_division=0.0))


def _best_threshold(scores: np.ndarray, present: np.ndarray) -> float:
    """The threshold of one class that gives the highest F1, the highest such."""
    try:
        from sklearn.metrics import precision_recall_curve
    except ImportError as error:
        raise MissingDependencyError("scikit-learn", "train", "evaluation") from error
    if not present.any():
        return USUAL_THRESHOLD
    precision, recall, values = precision_recall_curve(present, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    chosen = len(values) - 1 - int(f1[:-1][::-1].argmax())
    below = scores[scores < values[chosen]]
    return float((values[chosen] + (below.max() if len(below) else 0.0)) / 2)


def _resampled_precision(scores: np.ndarray, present: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean average precision (resamples,) where clips come counts (resamples, clips) times."""
    found = [
        _weighted_precision(scores[:, index], present[:, index], counts)
        for index in np.flatnonzero(present.any(axis=0))
    ]
    if not found:
        return np.full(len(counts), math.nan)
    there = ~np.isnan(found)
    total = np.where(there, found, 0.0).sum(axis=0)
    mean: np.ndarray = total / np.maximum(there.sum(axis=0), 1)
    return np.where(there.any(axis=0), mean, math.nan)


def _weighted_precision(scores: np.ndarray, present: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average precision of one class (resamples,); nan where no clip of it was drawn."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.searchsorted(-ranked, -ranked[present[order]], side="right") - 1  # of equal scores
    drawn = counts[:, order]
    hits = drawn * present[order]
    n_hits = hits.sum(axis=1)
    precision = np.cumsum(hits, axis=1)[:, last] / np.maximum(np.cumsum(drawn, axis=1)[:, last], 1)
    total = (hits[:, present[order]] * precision).sum(axis=1)
    return np.where(n_hits > 0, total / np.maximum(n_hits, 1), math.nan)


def _interval(values: np.ndarray, confidence: float) -> Interval:
    """The middle share of resampled metrics."""
    known = values[~np.isnan(values)]
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(known, tails) if len(known) else (math.nan, math.nan)
    return Interval(low=float(low), high=float(high), confidence=confidence)


def _mean(values: Sequence[float | None]) -> float:
    """Mean of the values that are there; nan if there are none."""
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else math.nan


def _confusion(true: np.ndarray, chosen: np.ndarray, n_classes: int) -> tuple[tuple[int, ...], ...]:
    """Number of clips by true and chosen class."""
    counts = np.zeros((n_classes, n_classes), dtype=int)
    np.add.at(counts, (true, chosen), 1)
    return tuple(tuple(int(n) for n in row) for row in counts)
