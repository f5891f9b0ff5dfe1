from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiomamba import checkpoints, models
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import Checkpoint
from audiomamba.data import Augment
from audiomamba.recipes import Recipe

CLASSES = {"low": (0, 200.0), "middle": (4, 900.0), "high": (9, 4000.0)}
HEADER = "filename,fold,target,category,esc10,src_file,take\n"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds of three kinds of tones in noise, four clips each, laid out like ESC-50."""
    folder = tmp_path_factory.mktemp("tones")
    (folder / "audio").mkdir()
    (folder / "meta").mkdir()
    rng = np.random.default_rng(0)
    time_s = np.arange(6_000) / 16_000
    lines = []
    for fold in (1, 2):
        for category, (target, hz) in CLASSES.items():
            for take in "ABCD":
                name = f"{fold}-{take}-{target}.wav"
                tone = 0.3 * np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * time_s)
                noise = 0.02 * rng.standard_normal(len(time_s))
                soundfile.write(folder / "audio" / name, tone + noise, 16_000)
                lines.append(f"{name},{fold},{target},{category},True,{target},{take}\n")
    (folder / "meta" / "esc50.csv").write_text(HEADER + "".join(lines))
    return folder


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """A recipe with everything switched on that trains in a second."""
    return Recipe(
        name="esc10/tiny",
        corpus="esc10",
        model="aum_tiny",
        model_changes={"depth": 1, "dim": 32, "drop_path": 0.2},
        front_end=FrontEnd(n_frames=48, n_mels=32),
        augment=Augment(
            speed=(0.8, 1.25),
            roll=True,
            gain_db=6.0,
            mixup=0.5,
            mixup_alpha=1.0,
            negatives=0.1,
            n_mel_masks=2,
            mel_mask_bins=4,
            n_frame_masks=2,
            frame_mask_frames=8,
        ),
        loss="bce",
        label_smoothing=0.1,
        epochs=4,
        batch_size=4,
        learning_rate=0.003,
        warmup_epochs=1,
        ema_decay=0.7,
        evaluate_every=2,
    )


@pytest.fixture(scope="session")
def save_random() -> Callable[..., Path]:
    """Write a model with random weights that is as sure of its classes as a trained one."""

    def save(
        folder: Path,
        *,
        labels: tuple[str, ...] = tuple(CLASSES),
        scores: str = "softmax",
        front_end: FrontEnd | None = None,
        model: str = "cnn_small",
        seed: int = 1,
        **changes: object,
    ) -> Path:
        front_end = front_end or FrontEnd(n_frames=48, n_mels=32)
        torch.manual_seed(seed)
        sizes = {"n_mels": front_end.n_mels, "n_frames": front_end.n_frames}
        built = models.create(model, n_classes=len(labels), **sizes, **changes).eval()
        with torch.no_grad():
            logits = built(torch.randn(16, front_end.n_frames, front_end.n_mels))
            built.head.weight.mul_(2 / logits.std())
        checkpoints.save(
            folder,
            Checkpoint(name="t", model=built, front_end=front_end, labels=labels, scores=scores),
        )
        return folder

    return save
