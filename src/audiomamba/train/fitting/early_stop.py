"""Ending a run when its held-out clips have nothing more to gain."""

from collections.abc import Mapping, Sequence

from audiomamba.train.run import metric_of

__all__ = ["gains_nothing"]


def gains_nothing(epochs: Sequence[Mapping[str, float]], best_by: str, patience: int) -> bool:
    """Tell whether a held-out metric has not risen for a number of evaluations.

    It goes by what a run wrote down, so that one that was interrupted ends where it would have.

    Args:
        epochs: lines of metrics.
        best_by: the metric.
        patience: evaluations without a better one than before.

    Examples:
        >>> gains_nothing([{"accuracy": it} for it in (0.5, 0.7, 0.6, 0.7)], "accuracy", 2)
        True
    """
    known = [it for it in (metric_of(line, best_by) for line in epochs) if it is not None]
    return len(known) > patience and max(known[-patience:]) <= max(known[:-patience])
