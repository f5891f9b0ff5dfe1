from pathlib import Path

import pytest
import torch
from bulk_runs import plan, rows_of, write_clips

from audiomamba import bulk, checkpoints, models
from audiomamba.audio import FrontEnd
from audiomamba.bulk.plan import Plan


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model with three labels; its window is 0.335 s."""
    torch.manual_seed(0)
    model = models.create("aum_tiny", n_classes=3, n_frames=32, n_mels=32, depth=1, dim=32)
    checkpoint = checkpoints.Checkpoint(
        name="tiny",
        model=model,
        front_end=FrontEnd(n_frames=32, n_mels=32),
        labels=("bell", "dog", "rain"),
        scores="sigmoid",
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    checkpoints.save(folder, checkpoint)
    return folder


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred short recordings."""
    return write_clips(tmp_path_factory.mktemp("clips"), 200)


@pytest.fixture(scope="session")
def undisturbed(clips: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run that nothing disturbs makes of them."""
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    plan(out, model_folder, clips)
    bulk.launch(Plan.open(str(out)))
    return out


@pytest.fixture(scope="session")
def expected(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """The rows of that."""
    return rows_of(undisturbed, tmp_path_factory.mktemp("tables") / "undisturbed.jsonl")
