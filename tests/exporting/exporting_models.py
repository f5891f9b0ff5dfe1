"""Small models to export."""

from pathlib import Path
from typing import NamedTuple

import torch

from audiomamba import models
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import Checkpoint
from audiomamba.exporting import Exported
from audiomamba.models.ood import OODDetector

RECORDINGS = Path(__file__).parents[2] / "demo" / "recordings"
LABELS = ("bell", "dog", "rain")


class Small(NamedTuple):
    """A small model, its folder, and what was exported of it."""

    checkpoint: Checkpoint
    folder: Path
    exported: Exported


def small_checkpoint() -> Checkpoint:
    """An untrained model of any length, with a detector; its window is 0.335 s."""
    torch.manual_seed(0)
    size = {"n_classes": 3, "n_frames": 32, "n_mels": 32, "dim": 16, "stem": (4, 6, 8)}
    detector = OODDetector(3, 16, limit=2.0)
    detector.means.normal_()
    return Checkpoint(
        name="small",
        model=models.create("conv_aum_tiny", depth=1, **size).eval(),
        front_end=FrontEnd(n_frames=32, n_mels=32),
        labels=LABELS,
        scores="softmax",
        ood_detector=detector,
        thresholds=(0.1, 0.2, 0.3),
        hidden=("rain",),
        license="Apache-2.0",
    )
