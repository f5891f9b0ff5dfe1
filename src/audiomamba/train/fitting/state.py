"""How far a saved state is."""

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch

from audiomamba.errors import TrainingError

__all__ = ["Position", "position_of"]


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


def position_of(state: Path) -> Position:
    """Read how far a saved state is.

    Args:
        state: the file.

    Returns:
        The position.

    Raises:
        TrainingError: the file cannot be read.
    """
    try:
        saved = torch.load(state, map_location="cpu", weights_only=True, mmap=True)
        # states of older versions were saved after whole epochs only, and do not say so
        return Position(**saved.get("position", {"epochs": int(saved["epoch"]) + 1}))
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, UnpicklingError) as error:
        raise TrainingError(f"{state}: cannot be read; delete it to start over") from error
