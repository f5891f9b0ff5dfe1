import json
from dataclasses import replace

import pytest
import torch

from audiomamba import models, recipes
from audiomamba.data import CORPORA
from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.recipes import Recipe

N_CLASSES = {"esc10": 10, "esc50": 50, "own": 2}


def test_the_recipes_are_these():
    variants = ("ast-tiny", "aum-tiny", "aum-tiny-mean", "cnn-small", "starter")
    expected = [f"{corpus}/{variant}" for corpus in ("esc10", "esc50") for variant in variants]
    assert recipes.names() == [*expected, "own/starter"]


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_builds_its_model_without_memory(name):
    recipe = recipes.get(name)
    assert recipe.name == name
    assert recipe.corpus in CORPORA
    with torch.device("meta"):
        model = models.create(
            recipe.model,
            **recipe.model_changes,
            n_classes=N_CLASSES[recipe.corpus],
            n_mels=recipe.front_end.n_mels,
            n_frames=recipe.front_end.n_frames,
        )
    assert model.head.out_features == N_CLASSES[recipe.corpus]


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_survives_json(name):
    recipe = recipes.get(name)
    plain = json.loads(json.dumps(recipes.to_dict(recipe)))
    assert recipes.from_dict(plain) == recipe


def test_an_unknown_recipe_offers_names():
    with pytest.raises(UnknownNameError, match="did you mean esc10/starter"):
        recipes.get("esc10/startr")


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ("epochs=20", {"epochs": 20}),
        ("learning_rate=2", {"learning_rate": 2.0}),
        ("betas=0.8,0.9", {"betas": (0.8, 0.9)}),
        ("ema_decay=none", {"ema_decay": None}),
        ("ema_decay=0.5", {"ema_decay": 0.5}),
        ("precision=float32", {"precision": "float32"}),
        ("measure_statistics=false", {"measure_statistics": False}),
        ("model_changes.depth=2", {"model_changes": {"depth": 2}}),
        ("model_changes.direction=bi-bi", {"model_changes": {"direction": "bi-bi"}}),
        ("model_changes.stem=8,16,32", {"model_changes": {"stem": (8, 16, 32)}}),
    ],
)
def test_a_change_is_read_by_the_type_of_its_field(change, changed):
    recipe = recipes.get("esc10/starter")
    assert recipes.override(recipe, [change]) == replace(recipe, **changed)


def test_changes_reach_into_groups_and_leave_the_rest():
    recipe = recipes.get("esc10/starter")
    changed = recipes.override(recipe, ["augment.speed=0.9,1.1", "front_end.n_frames=256"])
    assert changed.augment == replace(recipe.augment, speed=(0.9, 1.1))
    assert changed.front_end == replace(recipe.front_end, n_frames=256)


def test_changes_are_judged_together():
    recipe = recipes.get("esc10/starter")
    changed = recipes.override(recipe, ["loss=ce", "augment.negatives=0"])
    assert (changed.loss, changed.augment.negatives) == ("ce", 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epochs", "'epochs' is not a change; expected NAME=VALUE"),
        ("epochs=many", "epochs is 'many'; expected a whole number"),
        ("epochs=2.5", "epochs is 2.5; expected a whole number"),
        ("epochs=0", "epochs is 0; expected at least 1"),
        ("epoch=2", "unknown setting 'epoch': field 'epoch'; did you mean epochs"),
        ("epochs.x=2", "no field 'x' in a single value"),
        ("augment=2", "augment is a group of settings"),
        ("augment.mixup=2", "mixup is 2.0; expected 0 to 1"),
        ("augment.roll=1", "augment.roll is 1; expected true or false"),
        ("augment.rol=1", "did you mean roll"),
        ("augment.speed=1", r"augment.speed is \[1\]; expected 2 values"),
        ("loss=mse", "loss is 'mse'; expected 'bce' or 'ce'"),
        ("betas=0.9,1", r"expected at least 0 and less than 1"),
        ("front_end.n_mels=0", "n_mels is 0; expected at least 1"),
        ("seed=-1", "seed is -1; expected 0 or more"),
        ("learning_rate=nan", "learning_rate is nan; expected more than 0"),
    ],
)
def test_a_wrong_change_gets_one_line(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        recipes.override(recipes.get("esc10/starter"), [change])
    assert "\n" not in str(caught.value)


def test_a_record_with_a_missing_or_unknown_field_is_refused():
    plain = recipes.to_dict(recipes.get("esc10/starter"))
    with pytest.raises(ConfigError, match="did you mean epochs"):
        recipes.from_dict(plain | {"epoch": 3})
    del plain["epochs"]
    with pytest.raises(ConfigError, match="settings are missing, among epochs"):
        recipes.from_dict(plain)


def test_every_field_of_a_recipe_can_be_set():
    recipe = Recipe(name="x", corpus="own", model="cnn_small", epochs=1)
    assert recipes.from_dict(recipes.to_dict(recipe)) == recipe
