"""What holds for the whole test run."""

import os
import signal
from collections.abc import Iterator

import pytest
import torch

# Triton looks at this once, when it is imported. Without a GPU its kernels are interpreted.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the caches of the tests, and of the processes that they start, apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUDIOMAMBA_CACHE", str(tmp_path_factory.mktemp("audiomamba")))
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hugging-face")))
        yield


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let Ctrl-C reach processes that tests start, also where the tests run in the background."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)
