"""The processor's cores that this process may use."""

import os

__all__ = ["n_cores"]


def n_cores() -> int:
    """Count the cores that this process may use.

    Returns:
        At least 1.

    Examples:
        >>> n_cores() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
