"""Sets of images: layouts as they are given out, and files that are not what they should be."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from audiomamba.errors import ConfigError, DataError, UnknownNameError
from audiomamba.vision import Instances
from audiomamba.vision.data.coco import read_coco
from audiomamba.vision.data.corpora import open_images
from audiomamba.vision.data.images import read_image, read_map, resize
from audiomamba.vision.data.shapes import shapes


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def colour(height: int, width: int, value: int = 90) -> np.ndarray:
    return np.full((height, width, 3), value)


def test_ade20k(tmp_path: Path) -> None:
    save(tmp_path / "images/training/ADE_1.jpg", colour(6, 8))
    numbers = np.zeros((6, 8))
    numbers[0, :3] = [0, 1, 150]
    save(tmp_path / "annotations/training/ADE_1.png", numbers)
    images = open_images("ade20k", tmp_path, "training", "segment")
    image, target = images[0]
    assert image.shape == (3, 6, 8)
    assert target[0, :3].tolist() == [255, 0, 149]
    assert len(images.labels) == 150


def test_ade20k_reads_the_names_of_its_classes(tmp_path: Path) -> None:
    save(tmp_path / "images/training/1.jpg", colour(2, 2))
    save(tmp_path / "annotations/training/1.png", np.ones((2, 2)))
    lines = ["Idx\tRatio\tTrain\tVal\tName", *(f"{i}\t0\t0\t0\tthing {i}" for i in range(1, 151))]
    (tmp_path / "objectInfo150.txt").write_text("\n".join(lines), encoding="utf-8")
    assert open_images("ade20k", tmp_path, "training", "segment").labels[1] == "thing 2"
    (tmp_path / "objectInfo150.txt").write_text("\n".join(lines[:9]), encoding="utf-8")
    with pytest.raises(DataError, match="names 8 classes; expected 150"):
        open_images("ade20k", tmp_path, "training", "segment")


def test_camvid(tmp_path: Path) -> None:
    save(tmp_path / "val/a.png", colour(4, 4))
    save(tmp_path / "valannot/a.png", np.array([[0, 10, 11, 11]] * 4))
    _, target = open_images("camvid", tmp_path, "validation", "segment")[0]
    assert target[0].tolist() == [0, 10, 255, 255]


def test_a_class_that_is_not_in_the_list_is_named(tmp_path: Path) -> None:
    save(tmp_path / "train/a.png", colour(4, 4))
    save(tmp_path / "trainannot/a.png", np.full((4, 4), 12))
    with pytest.raises(DataError, match=r"trainannot/a\.png: has a class beyond the 11"):
        open_images("camvid", tmp_path, "training", "segment")[0]


def test_an_image_without_its_annotation_is_named(tmp_path: Path) -> None:
    save(tmp_path / "train/a.png", colour(4, 4))
    with pytest.raises(DataError, match=r"train/a\.png: has no annotation; expected .*trainannot"):
        open_images("camvid", tmp_path, "training", "segment")


def test_an_annotation_of_another_size_is_named(tmp_path: Path) -> None:
    save(tmp_path / "train/a.png", colour(4, 4))
    save(tmp_path / "trainannot/a.png", np.zeros((4, 5)))
    with pytest.raises(DataError, match="is 4 by 4 pixels, but its annotation is 4 by 5"):
        open_images("camvid", tmp_path, "training", "segment")[0]


def test_penn_fudan(tmp_path: Path) -> None:
    numbers = np.zeros((10, 12))
    numbers[2:5, 3:7], numbers[6:9, 1:2] = 1, 2
    for name in "abcdef":
        save(tmp_path / f"PNGImages/{name}.png", colour(10, 12))
        save(tmp_path / f"PedMasks/{name}_mask.png", numbers)
    training = open_images("penn_fudan", tmp_path, "training", "detect")
    assert [
        list(training.names),
        len(open_images("penn_fudan", tmp_path, "validation", "detect")),
    ] == [
        ["b.png", "c.png", "d.png", "e.png"],
        2,
    ]
    _, target = training[0]
    assert isinstance(target, Instances)
    assert target.boxes.tolist() == [[3, 2, 7, 5], [1, 6, 2, 9]]
    assert target.masks is not None
    assert target.masks.sum(dim=(1, 2)).tolist() == [12, 3]


def coco_file(folder: Path, **changes: object) -> Path:
    square = [2, 2, 8, 2, 8, 6, 2, 6]
    runs = {"size": [10, 12], "counts": [0, 10, 110]}  # the first column
    objects = [
        {"image_id": 7, "category_id": 9, "bbox": [2, 2, 6, 4], "segmentation": [square]},
        {"image_id": 7, "category_id": 3, "bbox": [0, 0, 1, 10], "segmentation": runs},
        {"image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9], "segmentation": runs, "iscrowd": 1},
        {"image_id": 7, "category_id": 3, "bbox": [0, 0, 0, 9], "segmentation": runs},
    ]
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 10, "width": 12} for i in (5, 7)],
        "annotations": objects,
        "categories": [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}],
        **changes,
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}), "utf-8")
    return path


def test_coco(tmp_path: Path) -> None:
    save(tmp_path / "7.png", colour(10, 12))
    images = read_coco(coco_file(tmp_path), tmp_path)
    assert (list(images.names), list(images.labels)) == (["7.png"], ["cat", "dog"])
    _, target = images[0]
    assert isinstance(target, Instances)
    assert target.classes.tolist() == [1, 0]
    assert target.boxes.tolist() == [[2, 2, 8, 6], [0, 0, 1, 10]]
    assert target.masks is not None
    assert torch.where(target.masks[1])[1].unique().tolist() == [0]
    assert target.masks[0].sum() == pytest.approx(
        24, abs=8
    )  # a polygon's edge is a matter of taste
    assert target.masks[0, 3:6, 3:7].all()


def test_files_that_are_not_cocos_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"annotations\.json: has no categories"):
        read_coco(coco_file(tmp_path, categories=None), tmp_path)
    (tmp_path / "annotations.json").write_text("[1", "utf-8")
    with pytest.raises(DataError, match="is not a JSON file"):
        read_coco(tmp_path / "annotations.json", tmp_path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_coco(tmp_path / "no.json", tmp_path)


def test_imagenet(tmp_path: Path) -> None:
    for name in ("n02", "n01"):
        save(tmp_path / f"train/{name}/x.JPEG", colour(4, 4))
    images = open_images("imagenet", tmp_path, "training", "classify")
    assert [images[i][1] for i in range(2)] == [0, 1]
    assert list(images.names) == ["n01/x.JPEG", "n02/x.JPEG"]
    with pytest.raises(DataError, match="val: is not a folder"):
        open_images("imagenet", tmp_path, "validation", "classify")


def test_sets_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean coco"):
        open_images("cocoo", tmp_path, "training", "detect")
    with pytest.raises(ConfigError, match="coco needs its folder, with annotations/"):
        open_images("coco", None, "training", "detect")
    save(tmp_path / "PNGImages/a.png", colour(4, 4))
    save(tmp_path / "PedMasks/a_mask.png", np.ones((4, 4)))
    with pytest.raises(ConfigError, match="a set to detect; the recipe is one to segment"):
        open_images("penn_fudan", tmp_path, "validation", "segment")


def test_images_of_all_kinds_are_read_alike(tmp_path: Path) -> None:
    grey = np.arange(48).reshape(6, 8) * 5
    expected = torch.from_numpy(grey / 255).float()
    rgb = Image.fromarray(np.repeat(grey[..., None], 3, axis=2).astype(np.uint8))
    for name, image in {
        "rgb.png": rgb,
        "grey.png": rgb.convert("L"),
        "alpha.png": rgb.convert("RGBA"),
        "a.webp": rgb,
        "a.tiff": rgb,
        "a.bmp": rgb,
    }.items():
        image.save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
        assert torch.allclose(read_image(tmp_path / name)[0], expected, atol=1e-6), name


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    image = Image.fromarray(colour(4, 8).astype(np.uint8))
    about = image.getexif()
    about[0x0112] = 6  # a quarter turn
    image.save(tmp_path / "a.jpg", exif=about)
    assert read_image(tmp_path / "a.jpg").shape == (3, 8, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no image that can be read"),
        (b"hello", "is no image that can be read"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "a.png: "),
    ],
)
def test_broken_files_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_image(tmp_path / "a.png")


def test_a_file_that_ends_too_soon_is_named(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (40, 40, 3)))
    (tmp_path / "b.png").write_bytes(whole.read_bytes()[:1500])
    with pytest.raises(DataError, match=r"b\.png: cannot be read"):
        read_image(tmp_path / "b.png")


def test_an_image_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    for name, side in (("larger.png", 20_000), ("large.png", 10_000)):
        Image.new("1", (side, side)).save(tmp_path / name)  # a few KB that become 300 MB or more
        with pytest.raises(DataError, match=f"{name}: has too many pixels"):
            read_image(tmp_path / name)


def test_a_map_in_colour_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is in colour"):
        read_map(save(tmp_path / "a.png", colour(2, 2)))


def test_a_palette_stands_for_its_numbers(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), "L").convert("P")
    image.putdata([0, 1, 2])
    image.putpalette([9, 9, 9, 8, 8, 8, 7, 7, 7])
    image.save(tmp_path / "a.png")
    assert read_map(tmp_path / "a.png").tolist() == [[0, 1, 2]]


def test_resizing_keeps_classes_whole() -> None:
    numbers = torch.tensor([[[0, 7], [7, 0]]])
    assert set(resize(numbers, (5, 9), nearest=True).unique().tolist()) == {0, 7}


def test_shapes_are_the_same_each_time() -> None:
    first, again = (shapes("detect", 5, seed=3)[4] for _ in "ab")
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1].boxes, again[1].boxes)
    per_pixel = shapes("segment", 5, seed=3)[4][1]
    for label, mask in zip(first[1].classes, first[1].masks, strict=True):
        assert (per_pixel[mask] == label + 1).all()
