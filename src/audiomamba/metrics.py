"""Scores of a classifier: accuracy, average precision, area under the ROC curve, d-prime."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from audiomamba.errors import DataError, MissingDependencyError

__all__ = ["ClassMetrics", "Metrics", "compute", "d_prime"]


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """How well one class is told from the others.

    Args:
        label: name of the class.
        n_clips: clips that have the label.
        average_precision: area under the precision-recall curve; None without such clips.
        auc: area under the ROC curve; None if all clips have the label or none has.
        recall: share of its clips that got the class as their highest score; None if clips have
            several labels or none has this one.
    """

    label: str
    n_clips: int
    average_precision: float | None
    auc: float | None
    recall: float | None


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
        classes: each class, in the order of the model's outputs.
        left_out: classes without clips, which no mean includes.
        confusion: clips by true class and class of the highest score; None if any clip has several
            labels or none.
    """

    n_clips: int
    accuracy: float
    mean_average_precision: float
    mean_auc: float
    d_prime: float
    classes: tuple[ClassMetrics, ...]
    left_out: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...] | None

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data that JSON can hold: None for what is not finite."""
        plain = asdict(self)
        for name in ("mean_average_precision", "mean_auc", "d_prime"):
            plain[name] = plain[name] if math.isfinite(plain[name]) else None
        return plain


def compute(scores: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> Metrics:
    """Compare scores with labels.

    Args:
        scores: (clips, classes), higher for more likely; finite.
        targets: (clips, classes) of zeros and ones.
        labels: names of the classes.

    Returns:
        The metrics.

    Raises:
        DataError: the shapes do not agree, or scores are not finite.
        MissingDependencyError: scikit-learn is not installed.

    Source: the evaluation of AST and AuM.
    """
    if scores.shape != targets.shape or scores.shape[1:] != (len(labels),) or not len(scores):
        raise DataError(
            f"scores are {scores.shape} and targets {targets.shape}; "
            f"expected both (clips, {len(labels)}) with at least one clip"
        )
    if not np.isfinite(scores).all():
        raise DataError(f"{np.count_nonzero(~np.isfinite(scores))} scores are not finite numbers")
    present = targets > 0.5
    best = scores.argmax(axis=1)
    single = bool((present.sum(axis=1) == 1).all())
    classes = tuple(
        _one_class(label, scores[:, place], present[:, place], best == place if single else None)
        for place, label in enumerate(labels)
    )
    mean_auc = _mean([one.auc for one in classes])
    return Metrics(
        n_clips=len(scores),
        accuracy=float((present.argmax(axis=1) == best).mean()),
        mean_average_precision=_mean([one.average_precision for one in classes]),
        mean_auc=mean_auc,
        d_prime=d_prime(mean_auc),
        classes=classes,
        left_out=tuple(one.label for one in classes if not one.n_clips),
        confusion=_confusion(present.argmax(axis=1), best, len(labels)) if single else None,
    )


def d_prime(auc: float) -> float:
    """Turn an area under the ROC curve into a distance of two normal distributions.

    Args:
        auc: the area, 0 to 1.

    Returns:
        The distance in standard deviations; infinite at 0 and 1.
    """
    if not 0 < auc < 1:
        return math.nan if math.isnan(auc) else math.copysign(math.inf, auc - 0.5)
    return math.sqrt(2) * NormalDist().inv_cdf(auc)


def _one_class(
    label: str, scores: np.ndarray, present: np.ndarray, chosen: np.ndarray | None
) -> ClassMetrics:
    """Metrics of one class."""
    try:
        from sklearn.metrics import average_precision_score, roc_auc_score
    except ImportError as error:
        raise MissingDependencyError("scikit-learn", "train", "evaluation") from error
    n_clips = int(present.sum())
    mixed = 0 < n_clips < len(present)
    return ClassMetrics(
        label=label,
        n_clips=n_clips,
        average_precision=float(average_precision_score(present, scores)) if n_clips else None,
        auc=float(roc_auc_score(present, scores)) if mixed else None,
        recall=float(chosen[present].mean()) if n_clips and chosen is not None else None,
    )


def _mean(values: Sequence[float | None]) -> float:
    """Mean of the values that are there; nan if there are none."""
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else math.nan


def _confusion(true: np.ndarray, chosen: np.ndarray, n_classes: int) -> tuple[tuple[int, ...], ...]:
    """Number of clips by true and chosen class."""
    counts = np.zeros((n_classes, n_classes), dtype=int)
    np.add.at(counts, (true, chosen), 1)
    return tuple(tuple(int(n) for n in row) for row in counts)
