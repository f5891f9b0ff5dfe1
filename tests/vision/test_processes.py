"""Runs on images by two processes that torchrun starts."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from audiomamba.cli import app

pytestmark = pytest.mark.slow
# The command line, which with "stop" before its arguments ends after two steps that were saved.
SCRIPT = """
import sys
from audiomamba import cli
from audiomamba.vision.training import fit

if sys.argv[1] == "stop":
    del sys.argv[1]
    fit.SAVED_EVERY_S = 0.0
    learn = fit._Run._learn
    fit._Run._learn = lambda run, batch: sys.exit(3) if run.step == 2 else learn(run, batch)
sys.exit(cli.main())
"""


def start_two(script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"]
    return subprocess.run(
        [sys.executable, *launcher, str(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def losses(folder: Path) -> list[float]:
    return [float(line.split(",")[1]) for line in (folder / "log.csv").read_text().splitlines()]


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright and dark images, in folders."""
    folder = tmp_path_factory.mktemp("classes")
    rng = torch.Generator().manual_seed(0)
    for split in ("train", "val"):
        for label, low in (("bright", 0.6), ("dark", 0.0)):
            (folder / split / label).mkdir(parents=True)
            for index in range(6):
                pixels = (255 * (low + 0.4 * torch.rand(40, 40, 3, generator=rng))).byte()
                Image.fromarray(pixels.numpy()).save(folder / split / label / f"{index}.png")
    return folder


def test_two_processes_do_what_one_does(classes: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    recipe = (
        *("train-images", "--recipe", "imagenet/mambaout_femto", "--data", classes),
        *("--set", "changes.depths=1,1", "--set", "changes.dims=16,32"),
        *("--set", "augmentation.size=32,32", "--set", "augmentation.mixup=0"),
        *("--set", "augmentation.cutmix=0", "--set", "batch_size=4", "--set", "steps=8"),
        *("--set", "warmup_steps=2", "--set", "learning_rate=0.003", "--set", "ema=0.9"),
    )
    alone = CliRunner().invoke(app, [str(part) for part in (*recipe, "--out", tmp_path / "one")])
    together = start_two(script, *recipe, "--out", tmp_path / "two")
    assert together.returncode == 0, together.stderr
    assert together.stdout == alone.stdout  # once, by the first
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    one, two = (load_file(tmp_path / n / "model.safetensors") for n in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=1e-4) for name in one)
    refused = start_two(script, *recipe, "--set", "batch_size=3", "--out", tmp_path / "three")
    assert "batch_size is 3; expected a multiple of 2" in refused.stderr


@pytest.mark.parametrize("task", ["segment", "detect"])
def test_two_processes_go_on_as_if_they_had_not_been_stopped(task: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    recipe = (
        *("train-images", "--recipe", f"shapes/{task}", "--set", "changes.dim=16"),
        *("--set", "augmentation.size=64,64", "--set", "batch_size=4", "--set", "steps=4"),
    )
    whole = start_two(script, *recipe, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    assert start_two(script, "stop", *recipe, "--out", tmp_path / "broken").returncode
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    done = start_two(script, *recipe, "--out", tmp_path / "broken")
    assert done.returncode == 0, done.stderr
    assert done.stdout == whole.stdout
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    weights = [load_file(tmp_path / n / "model.safetensors") for n in ("whole", "broken")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
