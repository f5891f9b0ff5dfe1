"""`audiomamba segment`, `detect` and `train-images`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command_line import noise, run, write
from PIL import Image

from audiomamba import vision
from audiomamba.vision.data import corpora
from audiomamba.vision.data.shapes import shapes
from audiomamba.vision.training.recipes import RECIPES

LABELS = ["disc", "square", "triangle"]


@pytest.fixture(scope="module", autouse=True)
def few_are_scored() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(corpora.N_DRAWN, "validation", 4)
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for index in range(2):
        pixels = (shapes("detect", 2)[index][0] * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = RECIPES["shapes/detect"].changed(changes={"dim": 16})
    torch.manual_seed(0)
    model = vision.create(recipe.model, n_classes=3, dim=16)
    torch.nn.init.normal_(model.roi_heads.box_heads[0].classify.weight, std=9.0)
    out = tmp_path_factory.mktemp("models") / "detector"
    vision.save_images(out, vision.ImageModel(model, recipe, LABELS))
    return out


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "segmenter"
    done = run(
        *("train-images", "--recipe", "shapes/segment", "--out", out, "--set", "steps=2"),
        *("--set", "batch_size=2", "--set", "changes.dim=16", "--set", "augmentation.size=32,32"),
    )
    assert "mean_iou" in done.stdout
    return out


def test_pixels_are_classified_and_drawn(segmenter: Path, photos: Path, tmp_path: Path) -> None:
    done = run("segment", photos, "--model", segmenter, "--pictures", tmp_path / "seen")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert [Path(line["file"]).name for line in lines] == ["0.png", "1.png"]
    for line in lines:
        assert sum(one["share"] for one in line["classes"]) == pytest.approx(1, abs=1e-3)
        assert {one["label"] for one in line["classes"]} <= {"ground", *LABELS}
    with Image.open(tmp_path / "seen" / "0001-0.png") as picture:
        assert picture.size == (96, 96)


def test_objects_are_found_and_drawn(detector: Path, photos: Path, tmp_path: Path) -> None:
    done = run(
        *("detect", photos / "0.png", "--model", detector, "--threshold", "0.3"),
        *("--pictures", tmp_path / "seen", "--out", tmp_path / "found.jsonl"),
    )
    [line] = (tmp_path / "found.jsonl").read_text("utf-8").splitlines()
    found = json.loads(line)["objects"]
    assert done.exit_code == 0
    assert found
    for one in found:
        left, top, right, bottom = one["box"]
        assert 0 <= left < right <= 96
        assert 0 <= top < bottom <= 96
        assert one["score"] >= 0.3
        assert one["label"] in LABELS
    assert (tmp_path / "seen" / "0001-0.png").is_file()


def test_a_broken_image_is_named_and_the_others_are_done(
    segmenter: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    done = run("segment", tmp_path / "broken.jpg", photos / "0.png", "--model", segmenter)
    assert done.exit_code == 1
    assert "broken.jpg: is no image that can be read" in done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_what_is_there_is_kept_unless_asked_and_an_image_always(
    segmenter: Path, photos: Path, tmp_path: Path
) -> None:
    photo, before = photos / "0.png", (photos / "0.png").read_bytes()
    there = tmp_path / "there.jsonl"
    there.write_text("precious")
    call = ("segment", photo, "--model", segmenter, "--out")
    for refused, reason in (
        (run(*call, there), "exists already"),
        (run(*call, photo, "--overwrite"), "this call reads it"),
        (run(*call, segmenter / "config.json", "--overwrite"), "this call reads it"),
        (run("segment", tmp_path / "none.png", *call[2:], there, "--overwrite"), "none.png"),
    ):
        assert refused.exit_code in (1, 2)
        assert reason in refused.stderr
        assert there.read_text() == "precious"
    assert photo.read_bytes() == before
    assert run(*call, there, "--overwrite").exit_code == 0
    assert "classes" in there.read_text()


def test_a_model_for_another_task_is_refused(segmenter: Path, detector: Path, photos: Path) -> None:
    done = run("detect", photos, "--model", segmenter)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is a model to segment, not to detect" in done.stderr
    done = run("segment", photos, "--model", detector)
    assert "is a model to detect, not to segment" in done.stderr


def test_what_is_no_model_is_named(photos: Path, tmp_path: Path) -> None:
    done = run("segment", photos, "--model", tmp_path)
    assert done.exit_code == 2
    assert "config.json: is not there" in done.stderr


def test_training_says_what_it_needs(tmp_path: Path) -> None:
    done = run("train-images", "--recipe", "ade20k/vim_tiny.paper", "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "ade20k needs its folder" in done.stderr
    assert not (tmp_path / "run").exists()
    assert run("train-images").exit_code == 2
    assert "ade20k/vim_tiny.code" in run("train-images", "--list").stdout
    done = run(
        *("train-images", "--recipe", "shapes/segment", "--out", tmp_path / "one"),
        *("--set", "batch_size=1"),
    )
    assert done.exit_code == 2
    assert "use at least 2" in done.stderr


def test_sound_is_segmented_and_drawn(tmp_path: Path) -> None:
    changes = ("steps=2", "batch_size=2", "changes.dim=16", "changes.aux_dim=16")
    done = run(
        *("train-images", "--recipe", "sounds/segment", "--out", tmp_path / "run"),
        *(part for change in changes for part in ("--set", change)),
    )
    assert "mean_iou" in done.stdout
    write(tmp_path / "a.wav", noise(3.0), 16_000)
    (tmp_path / "b.wav").write_bytes(b"no sound")
    done = run(
        *("segment-sound", tmp_path / "a.wav", tmp_path / "b.wav"),
        *("--model", tmp_path / "run", "--pictures", tmp_path / "seen"),
    )
    assert done.exit_code == 1
    assert "b.wav" in done.stderr
    [line] = [json.loads(line) for line in done.stdout.splitlines()]
    for one in line["sounds"]:
        assert 0 <= one["start_s"] < one["end_s"] <= 3
        assert 0 <= one["low_hz"] < one["high_hz"] <= 8000
    with Image.open(tmp_path / "seen" / "0001-a.png") as picture:
        assert picture.size == (3 * 298, 3 * 128)
    assert run("segment", tmp_path, "--model", tmp_path / "run").exit_code == 2
