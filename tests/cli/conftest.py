from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from command_line import LABELS, noise, write

from audiomamba import checkpoints, models
from audiomamba.audio import FrontEnd

RECORDINGS = Path(__file__).parents[2] / "demo" / "recordings"


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model with three labels; its window is 0.335 s."""
    torch.manual_seed(0)
    model = models.create("aum_tiny", n_classes=3, n_frames=32, n_mels=32, depth=1, dim=32)
    front_end = FrontEnd(n_frames=32, n_mels=32)
    checkpoint = checkpoints.Checkpoint(
        name="tiny", model=model, front_end=front_end, labels=LABELS, scores="sigmoid"
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    checkpoints.save(folder, checkpoint)
    return folder


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
