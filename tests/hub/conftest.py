"""Released files in miniature, for tests of the hub."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from audiomamba import models

Make = Callable[[Path], Path]


@pytest.fixture
def aum_file(tmp_path: Path) -> Path:
    """A file as AuM's authors release them, of a small model."""
    torch.manual_seed(0)
    model = models.create("aum_tiny", n_classes=35, n_frames=128, dim=32, depth=1)
    path = tmp_path / "aum-small.pth"
    torch.save({f"module.{key}": value for key, value in model.state_dict().items()}, path)
    return path
