"""Released files in miniature, for tests of the hub."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from loopback import Hub, Start, serving

from audiomamba import checkpoints, models
from audiomamba.audio import FrontEnd
from audiomamba.hub import web


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches for one test."""
    monkeypatch.setenv("AUDIOMAMBA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub" / "hub"))
    monkeypatch.setattr(web, "PAUSES_S", (0.01, 0.01))
    return tmp_path


@pytest.fixture
def server(caches: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, with empty caches."""
    assert caches.is_dir()
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def start(server: Hub, caches: Path) -> Start:
    """Start a process that runs code, with the hub of the test and its caches."""
    environment = os.environ | {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(caches / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }

    def run(code: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model's folder, as `save` writes it."""
    torch.manual_seed(0)
    model = models.create("aum_tiny", n_classes=3, n_frames=32, n_mels=32, dim=32, depth=1)
    checkpoint = checkpoints.Checkpoint(
        name="mine",
        model=model.eval(),
        front_end=FrontEnd(n_frames=32, n_mels=32),
        labels=("bell", "dog", "rain"),
        scores="sigmoid",
        license="CC0-1.0",
    )
    checkpoints.save(tmp_path / "mine", checkpoint)
    return tmp_path / "mine"


@pytest.fixture
def own_files(folder: Path) -> dict[str, bytes]:
    """The same folder's files, with something that nobody asked for."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files | {"README.md": b"# mine", "code.py": b"raise SystemExit"}


@pytest.fixture
def aum_file(tmp_path: Path) -> Path:
    """A file as AuM's authors release them, of a small model."""
    torch.manual_seed(0)
    model = models.create("aum_tiny", n_classes=35, n_frames=128, dim=32, depth=1)
    path = tmp_path / "aum-small.pth"
    torch.save({f"module.{key}": value for key, value in model.state_dict().items()}, path)
    return path
