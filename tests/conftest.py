"""What holds for the whole test run."""

import atexit
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

# The caches of the tests, and of the processes that they start, are apart from the user's.
_CACHES = TemporaryDirectory(prefix="audiomamba-tests-")
atexit.register(_CACHES.cleanup)
os.environ |= {"AUDIOMAMBA_CACHE": f"{_CACHES.name}/own", "HF_HOME": f"{_CACHES.name}/hub"}

# Triton looks at this once, when it is imported. Without a GPU its kernels are interpreted.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let Ctrl-C reach processes that tests start, also where the tests run in the background."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model with the labels bell, dog and rain; its window is 0.335 s."""
    from audiomamba import checkpoints, models  # only where a test asks for it
    from audiomamba.audio import FrontEnd

    torch.manual_seed(0)
    model = models.create("aum_tiny", n_classes=3, n_frames=32, n_mels=32, depth=1, dim=32)
    checkpoint = checkpoints.Checkpoint(
        name="tiny",
        model=model,
        front_end=FrontEnd(n_frames=32, n_mels=32),
        labels=("bell", "dog", "rain"),
        scores="sigmoid",
        license="Apache-2.0",
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    checkpoints.save(folder, checkpoint)
    return folder
