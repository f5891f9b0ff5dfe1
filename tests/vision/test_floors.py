"""That models really learn: what the commands of the documentation reach, and by how much time."""

import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from audiomamba import vision
from audiomamba.cli import app
from audiomamba.vision.data.shapes import shapes
from audiomamba.vision.sequence_length import sequence_lengths
from audiomamba.vision.training.recipe import Augmentation
from audiomamba.vision.training.recipes import RECIPES

TWO_CORES = 2


def trained(recipe: str, out: Path) -> tuple[dict[str, float], float]:
    """The scores of the command, and the seconds of processors that it took."""
    began = time.process_time()
    done = CliRunner().invoke(app, ["train-images", "--recipe", recipe, "--out", str(out)])
    assert done.exit_code == 0, done.stderr
    scores = dict(line.split() for line in done.stdout.splitlines())
    return {name: float(score) for name, score in scores.items()}, time.process_time() - began


@pytest.mark.slow
def test_shapes_are_segmented_within_five_minutes_of_two_cores(tmp_path: Path) -> None:
    scores, seconds = trained("shapes/segment", tmp_path / "run")
    assert scores["mean_iou"] >= 0.9
    assert seconds < 5 * 60 * TWO_CORES


@pytest.mark.slow
def test_shapes_are_detected_within_fifteen_minutes_of_two_cores(tmp_path: Path) -> None:
    scores, seconds = trained("shapes/detect", tmp_path / "run")
    assert scores["box_ap50"] >= 0.5
    assert scores["mask_ap50"] >= 0.5
    assert seconds < 15 * 60 * TWO_CORES


@pytest.mark.slow
def test_sounds_are_segmented(tmp_path: Path) -> None:
    scores, _ = trained("sounds/segment", tmp_path / "run")
    assert scores["mean_iou"] >= 0.6


def test_some_steps_lower_the_loss(tmp_path: Path) -> None:
    recipe = RECIPES["shapes/segment"].changed(
        steps=30, batch_size=4, warmup_steps=5, augmentation=Augmentation(size=(64, 64))
    )
    vision.fit_images(recipe, shapes("segment", 20, 64), None, tmp_path / "run")
    lines = (tmp_path / "run" / "log.csv").read_text().splitlines()
    losses = torch.tensor([float(line.split(",")[1]) for line in lines])
    assert losses[-5:].mean() < 0.7 * losses[:3].mean()


def test_lengths_are_those_of_the_paper() -> None:
    # Yu and Wang 2024, section 3.2: about 2K and 4K tokens for small and base; 196 on ImageNet,
    # about 4K on COCO and ADE20K.
    rows = {(row.task, row.size): row for row in sequence_lengths()}
    assert rows["ImageNet, classes", "small"].n_tokens == 196
    assert rows["COCO, objects", "small"].n_tokens == 4000
    assert rows["ADE20K, classes of pixels", "base"].n_tokens == 4096
    assert [rows["COCO, objects", size].threshold for size in ("small", "base")] == [2304, 4608]
    assert not any(row.is_long for row in rows.values() if row.task.startswith("ImageNet"))
    assert rows["ADE20K, classes of pixels", "small"].is_long
    assert not rows["ADE20K, classes of pixels", "base"].is_long
