"""What holds for the whole test run."""

import atexit
import os
import signal
from collections.abc import Iterator
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
