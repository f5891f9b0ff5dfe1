from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import noise, write

RECORDINGS = Path(__file__).parents[2] / "demo" / "recordings"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A recording of half a second that can be read."""
    return write(tmp_path / "good.wav", noise(0.5), 16_000)


@pytest.fixture(scope="session")
def rooster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute of faint noise with a rooster after ten seconds."""
    clip, rate = soundfile.read(RECORDINGS / "rooster.wav")
    clip = clip if clip.ndim == 1 else clip.mean(axis=1)
    samples = 0.001 * np.random.default_rng(0).standard_normal(30 * rate)
    samples[10 * rate : 10 * rate + len(clip)] += clip
    path = tmp_path_factory.mktemp("recordings") / "rooster.flac"
    soundfile.write(path, samples, rate)
    return path
