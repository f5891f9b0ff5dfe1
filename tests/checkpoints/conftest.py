import pytest
import torch

from audiomamba import models
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import Checkpoint


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    model = models.create(
        "aum_tiny", n_classes=2, n_mels=32, n_frames=64, dim=16, depth=2, stride=(8, 16)
    )
    return Checkpoint(
        name="small",
        model=model.eval(),
        front_end=FrontEnd(n_mels=32, n_frames=64),
        labels=("hot", "kälter"),
        scores="softmax",
        license="CC0-1.0",
        notes={"accuracy": 0.5, "trained on": "noise"},
    )
