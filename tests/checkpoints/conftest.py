import hashlib
from collections.abc import Callable, Mapping

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


@pytest.fixture
def fingerprint() -> Callable[[Mapping[str, torch.Tensor]], tuple[int, str]]:
    """How many tensors there are, and the start of the SHA-256 of their keys and shapes."""

    def of(state: Mapping[str, torch.Tensor]) -> tuple[int, str]:
        lines = sorted(f"{key} {tuple(value.shape)}" for key, value in state.items())
        return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    return of
