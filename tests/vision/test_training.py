"""Runs on images: rates, augmentation, resuming, and that something is learnt."""

import csv
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from audiomamba import models, vision
from audiomamba.config import override
from audiomamba.errors import ConfigError, DataError, TrainingError, UnknownNameError
from audiomamba.vision import Instances
from audiomamba.vision.data.dataset import ImageSet
from audiomamba.vision.data.shapes import shapes
from audiomamba.vision.training import fit as fit_module
from audiomamba.vision.training.augment import augment, flip
from audiomamba.vision.training.rand_augment import CHANGES, rand_augment
from audiomamba.vision.training.recipe import Augmentation, ImageRecipe
from audiomamba.vision.training.recipes import RECIPES, get_recipe
from audiomamba.vision.training.schedule import rate_at, weight_groups
from audiomamba.vision.training.tasks import TASKS, mix


def tiny_recipe(task: str = "segment", **changes: object) -> ImageRecipe:
    changes = {"steps": 4, "batch_size": 2, "warmup_steps": 2, **changes}
    recipe, narrow = RECIPES[f"shapes/{task}"], {"dim": 16}
    if task == "segment":
        narrow["aux_dim"] = 16
    return recipe.changed(
        changes={**recipe.changes, **narrow},
        augmentation=Augmentation(size=(64, 64), scale=(0.8, 1.2)),
        **changes,
    )


def shares(recipe: ImageRecipe) -> dict[str, float]:
    """The share of the learning rate of each weight, by name."""
    model = vision.create(recipe.model)
    share_of = {
        id(weight): group["share"]
        for group in weight_groups(model, recipe)
        for weight in group["params"]
    }
    return {n: share_of[id(w)] for n, w in model.named_parameters() if id(w) in share_of}


# ---- learning rates


def test_rates_of_vim_for_segmentation_as_its_code_has_them() -> None:
    found = shares(RECIPES["ade20k/vim_small.code"])
    embedding = 0.95**25
    for name, share in found.items():
        is_embedding = any(part in name for part in ("patch_embed", "pos_embed", "cls_token"))
        assert share == pytest.approx(embedding if is_embedding else 1.0), name


def test_rates_of_vim_for_segmentation_as_its_code_means_them() -> None:
    found = shares(RECIPES["ade20k/vim_small.code"].changed(decayed_layers="all"))
    assert found["backbone.model.pos_embed"] == pytest.approx(0.95**25)
    assert found["backbone.model.layers.0.mixer.in_proj.weight"] == pytest.approx(0.95**24)
    assert found["backbone.model.layers.23.mixer.in_proj.weight"] == pytest.approx(0.95)
    assert found["head.join.0.weight"] == 1.0


def test_rates_of_vim_for_detection_fall_from_block_to_block() -> None:
    found = shares(RECIPES["coco/vim_tiny.code"])
    for block in range(24):
        name = f"backbone.model.layers.{block}.mixer.in_proj.weight"
        assert found[name] == pytest.approx(0.837 ** (24 - block))
    assert found["rpn.objectness.weight"] == 1.0


def test_every_weight_that_learns_is_in_one_group() -> None:
    recipe = RECIPES["ade20k/vim_tiny.code"]
    model = vision.create(recipe.model)
    grouped = [id(w) for g in weight_groups(model, recipe) for w in g["params"]]
    assert sorted(grouped) == sorted(id(w) for w in model.parameters() if w.requires_grad)
    free = {
        id(w) for g in weight_groups(model, recipe) if not g["weight_decay"] for w in g["params"]
    }
    undecayed = {n for n, w in model.named_parameters() if id(w) in free}
    assert {"backbone.model.pos_embed", "head.classify.bias"} <= undecayed
    assert "head.classify.weight" not in undecayed


def test_schedules_by_hand() -> None:
    paper = RECIPES["ade20k/vim_tiny.paper"]
    assert rate_at(paper, 0) == pytest.approx(6e-5 / 1500)
    assert rate_at(paper, 80_000) == pytest.approx(3e-5)
    code = RECIPES["coco/vim_tiny.code"]
    assert [rate_at(code, step) for step in (1000, 163_909, 163_910, 177_554)] == pytest.approx(
        [1e-4, 1e-4, 1e-5, 1e-6]
    )
    cosine = RECIPES["imagenet/vim_tiny"]
    assert rate_at(cosine, cosine.steps // 2) == pytest.approx(5e-4, rel=1e-3)


# ---- recipes


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_names_a_model_that_takes_its_images(name: str) -> None:
    recipe = RECIPES[name]
    height, width = recipe.augmentation.size
    with torch.device("meta"):
        if recipe.task == "classify":
            changes = {"n_mels": height, "n_frames": width, **recipe.changes}
            model = models.create(recipe.model, **changes).eval()
            assert model(torch.zeros(1, 3, height, width)).shape == (1, 1000)
        else:
            config = vision.create(recipe.model, **recipe.changes).config
            side = getattr(config, "side", None)
            assert side is None or max(height, width) <= side
            if recipe.window is not None:
                assert recipe.window == config.model.n_mels


def test_stated_settings() -> None:
    assert RECIPES["imagenet/vim_tiny"].steps == 300 * 1251
    assert RECIPES["coco/mambaout_tiny"].steps == 12 * 7329
    assert RECIPES["ade20k/vim_tiny.code"].steps == 60_000
    with pytest.raises(UnknownNameError, match=r"did you mean ade20k/vim_tiny\.code"):
        get_recipe("ade20k/vim_tiny.cod")


# ---- augmentation


@pytest.mark.parametrize("seed", range(12))
def test_boxes_stay_around_their_masks(seed: int) -> None:
    image, target = shapes("detect", 20)[seed]
    how = Augmentation(size=(80, 72), scale=(0.4, 2.0), colour=0.3)
    changed, moved = augment(image, target, how, torch.Generator().manual_seed(seed))
    assert changed.shape == (3, 80, 72)
    assert isinstance(moved, Instances)
    assert moved.masks is not None
    for box, mask in zip(moved.boxes, moved.masks, strict=True):
        rows, columns = torch.where(mask)
        around = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert torch.equal(box, around.float())


def test_classes_of_pixels_move_with_the_image() -> None:
    target = shapes("segment", 20)[3][1]
    painted = target[None].expand(3, -1, -1) / 4  # the image is its own target
    how = Augmentation(size=(64, 64), scale=(0.5, 2.0))
    changed, moved = augment(painted, target, how, torch.Generator().manual_seed(5))
    mean, std = torch.tensor([0.485]), torch.tensor([0.229])
    known = moved != 255
    back = (changed[0] * std + mean) * 4
    agree = ((back - moved).abs() < 0.3)[known].float().mean()
    assert agree > 0.85  # all but the edges between classes
    assert known.any()


def test_an_image_of_a_step_is_always_the_same() -> None:
    image, target = shapes("segment", 2)[0]
    how = Augmentation(size=(64, 64), scale=(0.5, 2.0), colour=0.3, erase=0.5, rand_augment=9)
    first, again = (augment(image, target, how, torch.Generator().manual_seed(3)) for _ in "ab")
    other = augment(image, target, how, torch.Generator().manual_seed(4))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


def test_mirroring_twice_is_nothing() -> None:
    image, target = shapes("detect", 2)[0]
    twice = flip(*flip(image, target))
    assert torch.equal(twice[0], image)
    assert isinstance(twice[1], Instances)
    assert torch.equal(twice[1].boxes, target.boxes)
    assert torch.equal(twice[1].masks, target.masks)


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_of_rand_augment_keeps_the_size(name: str) -> None:
    image = shapes("segment", 1, 32)[0][0]
    for level in (-1.0, -0.3, 0.5, 1.0):
        changed = CHANGES[name](image, level)
        assert changed.shape == image.shape
        assert changed.isfinite().all()
    assert not torch.equal(CHANGES[name](image, 0.9), image)


def test_no_strength_changes_little() -> None:
    image = shapes("segment", 1, 32)[0][0]
    for name in ("rotate", "brighten", "contrast", "shear-x", "translate-y", "saturate", "sharpen"):
        assert (CHANGES[name](image, 0.0) - image).abs().max() < 0.2 if name == "sharpen" else True
        if name != "sharpen":
            assert torch.allclose(CHANGES[name](image, 0.0), image, atol=1e-5), name
    assert rand_augment(image, 9, torch.Generator().manual_seed(0)).shape == image.shape


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_mixed_labels_say_how_much_of_each_image_is_there(mixup: float, cutmix: float) -> None:
    recipe = RECIPES["imagenet/vim_tiny"].changed(
        augmentation=Augmentation(size=(32, 32), mixup=mixup, cutmix=cutmix)
    )
    images = torch.stack([torch.full((3, 32, 32), float(i)) for i in range(2)])
    for seed in range(8):
        rng = torch.Generator().manual_seed(seed)
        mixed, truth = mix(images, torch.eye(2), recipe, rng)
        assert torch.allclose(truth.sum(dim=1), torch.ones(2))
        assert torch.allclose(mixed.mean(dim=(1, 2, 3)), truth[:, 1], atol=1e-5)


def test_a_sequence_read_from_its_end_is_the_reversed_one() -> None:
    """Vision Mamba, table 4, "bidirectional sequence"."""
    recipe = RECIPES["imagenet/vim_tiny_sequence"]
    how = Augmentation(size=(32, 32), reverse=1.0)
    recipe = recipe.changed(
        augmentation=how,
        changes={**recipe.changes, "dim": 16, "depth": 2, "positions": "none"}
        | {"class_token": "none", "patch": (8, 8)},
    )
    torch.manual_seed(0)
    task = TASKS["classify"](recipe, 5)
    model = task.new_model()
    image = torch.randn(3, 32, 32)
    rows = image.unflatten(1, (4, 8)).unflatten(3, (4, 8))  # patches: rows, columns
    reversed_image = rows.flip(1, 3).flatten(3, 4).flatten(1, 2)
    backward = task.loss(model, [(image, 1)], torch.Generator())
    forward = TASKS["classify"](recipe.changed(augmentation=Augmentation(size=(32, 32))), 5)
    found = forward.loss(model, [(reversed_image, 1)], torch.Generator())
    assert torch.allclose(backward, found, atol=1e-6)
    assert not torch.allclose(backward, forward.loss(model, [(image, 1)], torch.Generator()))
    both = TASKS["classify"](recipe.changed(changes={**recipe.changes, "direction": "bi-bi"}), 5)
    with pytest.raises(ConfigError, match="direction fo-fo only"):
        both.loss(both.new_model(), [(image, 1)], torch.Generator())


# ---- runs


class Stop(Exception):  # noqa: N818
    """What ends a run in the middle."""


@pytest.mark.parametrize("task", ["segment", "detect"])
def test_a_run_that_was_interrupted_ends_as_if_it_was_not(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(task, ema=0.9)
    images = shapes(task, 6, 64)
    vision.fit_images(recipe, images, None, tmp_path / "whole")
    monkeypatch.setattr(fit_module, "SAVED_EVERY_S", 0.0)
    learn = fit_module._Run._learn

    def stops(run: fit_module._Run, batch: list) -> torch.Tensor:
        if run.step == 2:
            raise Stop
        return learn(run, batch)

    monkeypatch.setattr(fit_module._Run, "_learn", stops)
    with pytest.raises(Stop):
        vision.fit_images(recipe, images, None, tmp_path / "broken")
    monkeypatch.setattr(fit_module._Run, "_learn", learn)
    vision.fit_images(recipe, images, None, tmp_path / "broken")
    whole, broken = (load_file(tmp_path / n / "model.safetensors") for n in ("whole", "broken"))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    logs = [(tmp_path / n / "log.csv").read_text("utf-8") for n in ("whole", "broken")]
    assert logs[0] == logs[1]
    assert [row[0] for row in csv.reader(logs[0].splitlines())] == ["1", "2", "3", "4"]


def test_readers_in_other_processes_change_nothing(tmp_path: Path) -> None:
    recipe, images = tiny_recipe(steps=2), _Stored(shapes("segment", 6, 64))
    for n_workers in (0, 2):
        out = tmp_path / str(n_workers)
        vision.fit_images(recipe, images.set(), None, out, n_workers=n_workers)
    alone, helped = (load_file(tmp_path / n / "model.safetensors") for n in ("0", "2"))
    assert all(torch.equal(alone[name], helped[name]) for name in alone)


class _Stored:
    """Images in memory, which processes can be given."""

    def __init__(self, images: ImageSet) -> None:
        self.labels = list(images.labels)
        self.items = [images[index] for index in range(len(images))]

    def set(self) -> ImageSet:
        return ImageSet("segment", self.labels, ["-"] * len(self.items), self.items.__getitem__)


def test_the_folder_of_another_run_is_left_alone(tmp_path: Path) -> None:
    images = shapes("segment", 4, 64)
    vision.fit_images(tiny_recipe(steps=1), images, None, tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="holds a run of another recipe"):
        vision.fit_images(tiny_recipe(steps=2), images, None, tmp_path / "run")
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_a_set_for_another_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no class for each pixel"):
        vision.fit_images(tiny_recipe(), shapes("detect", 4, 64), None, tmp_path / "run")


def test_images_are_classified(tmp_path: Path) -> None:
    def read(index: int) -> tuple[torch.Tensor, int]:
        image = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(index)) * 0.3
        image[index % 2] += 0.7  # red or green
        return image, index % 2

    images = ImageSet("classify", ["red", "green"], [str(i) for i in range(24)], read)
    recipe = RECIPES["imagenet/mambaout_femto"].changed(
        changes={"depths": (1, 1), "dims": (16, 32)},
        augmentation=Augmentation(size=(32, 32), resize="random-area", mixup=0.2),
        steps=30,
        batch_size=8,
        warmup_steps=3,
        learning_rate=5e-3,
    )
    assert vision.fit_images(recipe, images, images, tmp_path / "run")["accuracy"] == 1.0


def test_recipes_with_impossible_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected the smaller factor first"):
        Augmentation(size=(32, 32), scale=(2.0, 0.5))
    with pytest.raises(ConfigError, match="steps is 0"):
        tiny_recipe(steps=0)


def test_a_model_with_a_changed_backbone_is_read_from_its_folder(tmp_path: Path) -> None:
    recipe = override(get_recipe("shapes/detect"), ["steps=1", "batch_size=1"])
    vision.fit_images(recipe, shapes("detect", 2), None, tmp_path / "run")
    loaded = vision.load_images(tmp_path / "run")
    assert loaded.recipe == recipe
    assert loaded.model.config.model.dims == (32, 64, 96, 128)
