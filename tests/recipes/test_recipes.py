import json
from dataclasses import replace

import pytest
import torch

from audiomamba import models, recipes
from audiomamba.data import CORPORA
from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.recipes import STARTS, Distillation, Recipe, Schedule
from audiomamba.recipes.esc10 import STARTER

N_CLASSES = {
    "audioset": 527,
    "audioset20k": 527,
    "epic_sounds": 44,
    "esc10": 10,
    "esc50": 50,
    "own": 2,
    "speech_commands": 35,
    "vggsound": 309,
    "voxceleb1": 1251,
}
SCRATCH = {f"{system}-{size}" for system in ("aum", "ast") for size in ("tiny", "small", "base")}
IMAGENET = {"aum-small-from-imagenet", "ast-small-from-imagenet"}
AUDIOSET = {"aum-base-from-audioset", "ast-base-from-audioset"}
ESC = {
    *("ast-tiny", "aum-tiny", "aum-tiny-mean", "cnn-small", "short", "starter", "vim-tiny"),
    *("audiomamba-nano", "audiomamba-tiny", "htsat-nano", "htsat-tiny", "mambaout-femto"),
}
VARIANTS = {
    "audioset": SCRATCH
    | IMAGENET
    | {"audiomamba-tiny", "audiomamba-micro", "audiomamba-nano", "htsat-tiny"},
    "audioset20k": SCRATCH | IMAGENET | {"vim-tiny"},
    "epic_sounds": SCRATCH | IMAGENET | AUDIOSET,
    "esc10": ESC,
    "esc50": ESC,
    "own": {"starter"},
    "speech_commands": SCRATCH | IMAGENET | AUDIOSET,
    "vggsound": SCRATCH | IMAGENET | AUDIOSET,
    "voxceleb1": SCRATCH | IMAGENET | AUDIOSET,
}
# Exact sizes of the authors' classes, with the classes and the input of each corpus.
N_PARAMETERS = {
    "audioset/aum-base": 92_107_535,
    "audioset/aum-small": 23_935_631,
    "audioset/aum-small-from-imagenet": 25_539_215,
    "audioset/aum-tiny": 6_438_479,
    "audioset/ast-base": 86_054_927,
    "audioset/ast-small-from-imagenet": 21_794_063,
    "vggsound/aum-base-from-audioset": 91_939_893,
    "voxceleb1/aum-base": 92_664_291,
    "speech_commands/aum-base": 91_385_123,
    "epic_sounds/aum-base": 91_736_108,
    "vggsound/aum-small-from-imagenet": 25_455_285,
    "voxceleb1/aum-small-from-imagenet": 25_817_955,
    "speech_commands/aum-small-from-imagenet": 25_177_763,
    "epic_sounds/aum-small-from-imagenet": 25_353_260,
}


def test_the_recipes_are_these():
    expected = [f"{corpus}/{one}" for corpus in VARIANTS for one in VARIANTS[corpus]]
    assert recipes.names() == sorted(expected)
    assert len(expected) == 86


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_builds_its_model_without_memory(name):
    recipe = recipes.get(name)
    assert recipe.name == name
    assert recipe.corpus == name.split("/")[0]
    assert recipe.corpus in CORPORA
    with torch.device("meta"):
        model = models.create(
            recipe.model,
            **recipe.model_changes,
            n_classes=N_CLASSES[recipe.corpus],
            n_mels=recipe.front_end.n_mels,
            n_frames=recipe.front_end.n_frames,
        )
    assert model.config.n_classes == N_CLASSES[recipe.corpus]
    if name in N_PARAMETERS:
        assert sum(weight.numel() for weight in model.parameters()) == N_PARAMETERS[name]


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_starts_from_what_its_name_says(name):
    init = recipes.get(name).init
    origin = name.partition("-from-")[2]
    assert (init or "").partition("/")[0] == origin
    assert init is None or init in STARTS


# Table VI of AuM's paper and the authors' scripts: loss, main figure, highest learning rate,
# epochs, epochs until the first drop, from one to the next, and what it multiplies by, mixup,
# sampling, batch size, frames.
TABLE_VI = {
    "audioset": ("bce", "mAP", 1e-5, 5, (2, 1, 0.5), 0.5, "balanced", 12, 1024),
    "audioset20k": ("bce", "mAP", 5e-5, 25, (10, 5, 0.5), 0.5, "shuffled", 12, 1024),
    "vggsound": ("bce", "accuracy", 1e-5, 20, (5, 2, 0.75), 0.0, "shuffled", 12, 1024),
    "voxceleb1": ("ce", "accuracy", 1e-5, 20, (5, 2, 0.75), 0.0, "shuffled", 12, 1024),
    "speech_commands": ("bce", "accuracy", 2.5e-4, 30, (5, 1, 0.85), 0.6, "shuffled", 128, 128),
    "epic_sounds": ("ce", "accuracy", 1e-5, 30, None, 0.0, "shuffled", 12, 1024),
}
STATISTICS = {
    "audioset": (-4.268, 4.569),
    "audioset20k": (-4.268, 4.569),
    "vggsound": (-5.077, 4.453),
    "voxceleb1": (-3.761, 4.201),
    "speech_commands": (-6.845, 5.565),
}


@pytest.mark.parametrize("corpus", TABLE_VI)
@pytest.mark.parametrize("variant", sorted(SCRATCH | IMAGENET))
def test_the_recipes_of_aums_paper_are_its_table(corpus, variant):
    recipe = recipes.get(f"{corpus}/{variant}")
    schedule = recipe.schedule
    figure = {"accuracy": "accuracy", "mean_average_precision": "mAP"}[recipe.best_by]
    drops = (schedule.drop_after, schedule.drop_every, schedule.drop_factor)
    assert TABLE_VI[corpus] == (
        recipe.loss,
        figure,
        recipe.learning_rate,
        recipe.epochs,
        drops if schedule.kind == "multi-step" else None,
        recipe.augment.mixup,
        recipe.sampling,
        recipe.batch_size,
        recipe.front_end.n_frames,
    )
    assert (recipe.optimizer, recipe.betas, recipe.weight_decay) == ("adam", (0.95, 0.999), 5e-7)
    assert (recipe.decayed, recipe.clip_norm, recipe.precision) == ("all", None, "float16")
    assert not recipe.measure_statistics
    assert recipe.front_end.n_mels == 128
    if corpus in STATISTICS:
        found = (recipe.front_end.mean, recipe.front_end.std)
        assert found == pytest.approx(STATISTICS[corpus], abs=1.1e-3)


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
        ("clip_norm=none", {"clip_norm": None}),
        ("schedule.warmup_steps=100", {"schedule": Schedule(warmup_steps=100)}),
        ("augment.segment_s=5", {"augment": replace(STARTER.augment, segment_s=5.0)}),
        ("distillation.teachers=7, b", {"distillation": Distillation(teachers=("7", "b"))}),
        ("distillation.cache=kept", {"distillation": Distillation(cache="kept")}),
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


def test_a_schedule_of_shares_has_as_many_as_one_likes():
    recipe = recipes.get("esc10/starter")
    for shares in ("1", "1,0.5,0.25"):
        changed = recipes.override(recipe, ["schedule.kind=by-epoch", f"schedule.shares={shares}"])
        assert changed.schedule.shares == tuple(map(float, shares.split(",")))
        assert recipes.from_dict(recipes.to_dict(changed)) == changed


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
        ("epochs=0", "epochs is 0; expected a whole number of at least 1"),
        ("epoch=2", "unknown setting 'epoch': field 'epoch'; did you mean epochs"),
        ("epochs.x=2", "no field 'x' in a single value"),
        ("augment=2", "augment is a group of settings"),
        ("augment.mixup=2", "augment.mixup is 2; expected a number from 0 to 1"),
        ("augment.roll=1", "augment.roll is 1; expected true or false"),
        ("augment.rol=1", "did you mean roll"),
        ("augment.speed=1", r"augment.speed is \[1\]; expected 2 values"),
        ("loss=mse", "loss is 'mse'; expected 'bce' or 'ce'"),
        ("betas=0.9,1", "expected 2 values, each a number of at least 0 and below 1"),
        ("front_end.n_mels=0", "front_end.n_mels is 0; expected a whole number of at least 1"),
        ("seed=-1", "seed is -1; expected a whole number of at least 0"),
        ("accumulate=0", "accumulate is 0; expected a whole number of at least 1"),
        ("clip_norm=0", "clip_norm is 0; expected a number above 0 or None"),
        ("swa_epochs=2", "swa_epochs is 2, epochs 100 and ema_decay 0.99; .*not both"),
        ("schedule.shares=1", "kind is 'cosine' and there are 1 shares"),
        ("schedule.shares=2", "expected a list of values, each a number from 0 to 1"),
        ("schedule.kind=by-epoch", "kind is 'by-epoch' and there are 0 shares"),
        ("schedule.drop_every=0", "drop_every is 0; expected a whole number of at least 1"),
        (
            "schedule.warmup_steps=-1",
            "warmup_steps is -1; expected a whole number of at least 0 or None",
        ),
        ("optimizer=sgd", "optimizer is 'sgd'; expected 'adamw' or 'adam'"),
        ("learning_rate=nan", "learning_rate is nan; expected a number above 0"),
        ("distillation.weight=1.5", "distillation.weight is 1.5; expected a number from 0 to 1"),
        ("distillation.temperature=0", "temperature is 0; expected a number above 0"),
        ("distillation.teachers=a,", "the name of a teacher is empty"),
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
    with pytest.raises(ConfigError, match="settings are missing: epochs"):
        recipes.from_dict(plain)


def test_every_field_of_a_recipe_can_be_set():
    recipe = Recipe(name="x", corpus="own", model="cnn_small", epochs=1)
    assert recipes.from_dict(recipes.to_dict(recipe)) == recipe


def test_a_recipe_that_an_older_version_saved_is_read():
    recipe = recipes.get("esc10/starter")
    saved = recipes.to_dict(recipe)
    saved["familiarity_limit"] = saved.pop("ood_limit")

    assert recipes.from_dict(saved) == recipe
    assert recipe.ood_limit == 3.0
