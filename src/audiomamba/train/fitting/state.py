"""What a run saves to be resumed from, and how far that is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from audiomamba.errors import TrainingError

__all__ = ["Position", "load_state", "position_of"]


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a run is.

    Args:
        epochs: complete epochs.
        steps: batches of the epoch after them that are done.
        loss_sum: sum of the losses of these.
        seconds: time spent on these.
    """

    epochs: int
    steps: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0


def load_state(path: Path) -> dict[str, Any]:
    """Read a saved state.

    Args:
        path: the file.

    Returns:
        What was saved.

    Raises:
        TrainingError: the file cannot be read.
    """
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        position_of(saved)
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, UnpicklingError) as error:
        raise TrainingError(f"{path}: cannot be read; delete it to start over") from error
    return saved


def position_of(saved: Mapping[str, Any]) -> Position:
    """Tell how far a saved state is.

    Args:
        saved: what was saved.

    Returns:
        The position.
    """
    # states of older versions were saved after complete epochs only, and do not say so
    return Position(
        **saved["position"] if "position" in saved else {"epochs": int(saved["epoch"]) + 1}
    )
