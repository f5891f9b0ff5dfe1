from dataclasses import replace

import pytest
import torch

from audiomamba import checkpoints, models, recipes, train
from audiomamba.checkpoints import Checkpoint
from audiomamba.errors import CheckpointError
from audiomamba.recipes import override
from audiomamba.train.fitting.start import find_start

SMALL = {"depth": 1, "dim": 32, "n_mels": 32}


def save(folder, n_classes: int, n_frames: int, recipe) -> models.AudioModel:
    """A model of the recipe's kind, for other classes and another length."""
    torch.manual_seed(7)
    model = models.create("aum_tiny", **SMALL, n_classes=n_classes, n_frames=n_frames)
    checkpoint = Checkpoint(
        name="source",
        model=model,
        front_end=replace(recipe.front_end, n_frames=n_frames),
        labels=tuple(map(str, range(n_classes))),
        scores="softmax",
        license="unknown",
    )
    checkpoints.save(folder, checkpoint)
    return model


def test_weights_are_found_by_name_in_the_folder_that_is_given(tmp_path):
    converted, released = tmp_path / "imagenet" / "vim-small", tmp_path / "imagenet" / "a.pth"
    converted.mkdir(parents=True)
    released.touch()
    assert find_start("imagenet/vim-small", tmp_path) == converted
    assert find_start("imagenet/a", tmp_path) == released
    assert find_start(str(released)) == released
    assert find_start("general") == checkpoints.find("general")


def test_missing_weights_say_where_to_get_them(tmp_path):
    with pytest.raises(CheckpointError, match=r"Vim-S trained on ImageNet.*huggingface.co/hustvl"):
        find_start("imagenet/vim-small", tmp_path)
    with pytest.raises(CheckpointError, match=r"init is 'nothing'.*known: audioset/ast-base"):
        find_start("nothing")


def test_a_run_starts_from_weights_and_says_what_it_took(corpus, recipe, tmp_path):
    source = save(tmp_path / "source", 5, 64, recipe)
    changes = ["epochs=1", "learning_rate=1e-12", "weight_decay=0", "ema_decay=none"]
    started = override(recipe, [*changes, f"init={tmp_path / 'source'}"])
    train.fit(started, corpus, tmp_path / "run", fold=1, n_threads=1, progress=False)
    found, theirs = checkpoints.load(tmp_path / "run").model.state_dict(), source.state_dict()
    torch.testing.assert_close(found["norm_f.weight"], theirs["norm_f.weight"])
    name = "layers.0.mixer.in_proj.weight"
    torch.testing.assert_close(found[name], theirs[name], atol=1e-6, rtol=0)
    assert found["head.weight"].shape[0] == 3
    record = train.run.Run(tmp_path / "run").record()
    assert "pos_embed" in record["start"]["resized"]
    assert name in record["start"]["taken"]
    assert record["start"]["fresh"] == ["head.weight", "head.bias"]


def test_a_run_does_not_begin_without_its_weights(corpus, recipe, tmp_path):
    started = override(recipe, ["init=imagenet/vim-small"])
    with pytest.raises(CheckpointError, match="--weights DIR for DIR/imagenet/vim-small"):
        train.fit(started, corpus, tmp_path / "run", fold=1, progress=False)
    assert not (tmp_path / "run").exists()


def test_every_start_is_of_a_model_and_is_used():
    used = {recipes.get(name).init for name in recipes.names()}
    assert {start.model for start in recipes.STARTS.values()} <= set(models.names())
    assert set(recipes.STARTS) - used == {"imagenet/vmamba-tiny"}  # of a set's cells
