from pathlib import Path

import pytest
import torch

from audiomamba import checkpoints, models
from audiomamba.audio import FrontEnd

LABELS = ("bell", "dog", "rain")


@pytest.fixture(scope="session")
def any_length_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model that reads short recordings as they are; its window is 0.335 s."""
    torch.manual_seed(0)
    size = {"n_classes": 3, "n_frames": 32, "n_mels": 32, "dim": 16, "stem": (4, 6, 8)}
    checkpoint = checkpoints.Checkpoint(
        name="any",
        model=models.create("conv_aum_tiny", depth=1, **size),
        front_end=FrontEnd(n_frames=32, n_mels=32),
        labels=LABELS,
        scores="softmax",
    )
    folder = tmp_path_factory.mktemp("models") / "any"
    checkpoints.save(folder, checkpoint)
    return folder
