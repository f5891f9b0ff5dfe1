from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

Writer = Callable[..., Path]


@pytest.fixture
def write_wav(tmp_path: Path) -> Writer:
    """Write a wav file of a tone, and return its path."""

    def write(name: str, *, hz: float = 440.0, seconds: float = 0.5, rate: int = 16_000) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        time_s = np.arange(round(seconds * rate)) / rate
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * hz * time_s), rate)
        return path

    return write
