"""Dense models that begin with a classifier's weights."""

from pathlib import Path

import pytest
import torch

from audiomamba import checkpoints, models, vision
from audiomamba.errors import CheckpointError
from audiomamba.models import VimConfig
from audiomamba.vision.backbones import BlockBackbone, StageBackbone
from audiomamba.vision.data.shapes import shapes
from audiomamba.vision.start import fit_positions, start_from_classifier
from audiomamba.vision.training.recipe import Augmentation
from audiomamba.vision.training.recipes import RECIPES

SMALL = {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}


def test_the_row_of_the_class_token_in_the_middle_is_taken_out() -> None:
    source = VimConfig(dim=16, depth=1).build()
    with torch.no_grad():  # each row says which it is; row 98 is the class token's
        source.pos_embed[:] = torch.arange(197.0)[None, :, None]
    same_size = source.config.changed(class_token="none")
    backbone = BlockBackbone(same_size, blocks=(1,))
    start_from_classifier(backbone.model, source)
    rows = backbone.model.pos_embed[0, :, 0].tolist()
    assert rows == [*range(98), *range(99, 197)]


def test_a_class_token_keeps_its_row_in_a_larger_grid() -> None:
    source = VimConfig(dim=16, depth=1).build()
    with torch.no_grad():
        source.pos_embed[:] = 3.0
        source.pos_embed[:, 98] = -7.0
    backbone = BlockBackbone(source.config.changed(n_mels=512, n_frames=512), blocks=(1,))
    start_from_classifier(backbone.model, source)
    rows = backbone.model.pos_embed[0, :, 0]
    assert torch.where(rows < 0)[0].tolist() == [512]
    assert torch.allclose(rows[rows > 0], torch.tensor(3.0))


def test_positions_are_stretched_as_an_image_is() -> None:
    columns = torch.arange(14.0).expand(14, 14)[..., None]
    found = fit_positions(columns, (28, 28))[..., 0]
    assert torch.allclose(found, found[:1].expand(28, -1))
    middle = (torch.arange(28) + 0.5) / 2 - 0.5
    assert torch.allclose(found[0, 4:-4], middle[4:-4], atol=0.05)  # a cubic is not quite straight


def test_a_start_changes_what_the_classifier_has_and_nothing_else() -> None:
    source = models.create("mambaout_femto_224", **SMALL)
    backbone = StageBackbone(source.config)
    norms = [norm.weight.clone() for norm in backbone.norms]
    names = start_from_classifier(backbone.model, source)
    assert {*names} == {*backbone.model.state_dict()}
    x = torch.randn(1, 3, 64, 64)
    ours = [one.map for one in backbone.model.forward_intermediates(x)]
    theirs = [one.map for one in source.forward_intermediates(x)]
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=False) if not source.training)
    assert all(torch.equal(a, b.weight) for a, b in zip(norms, backbone.norms, strict=True))


def test_weights_of_another_model_are_refused() -> None:
    backbone = BlockBackbone(VimConfig(dim=16, depth=2), blocks=(2,))
    with pytest.raises(CheckpointError, match="of mambaout; the model is vim"):
        start_from_classifier(backbone.model, models.create("mambaout_femto_224", **SMALL))
    with pytest.raises(CheckpointError, match="do not fit the model: cls_token"):
        start_from_classifier(backbone.model, VimConfig(dim=32, depth=2).build())


def saved(folder: Path, model: models.AudioModel) -> str:
    """A model folder of a classifier of images."""
    labels = tuple(str(index) for index in range(model.config.n_classes))
    checkpoint = checkpoints.Checkpoint(
        name="classifier", model=model, front_end=None, labels=labels, scores="softmax"
    )
    checkpoints.save(folder, checkpoint)
    return str(folder)


def test_a_run_starts_from_a_saved_classifier(tmp_path: Path) -> None:
    torch.manual_seed(7)
    source = models.create("mambaout_femto_224")
    recipe = RECIPES["shapes/segment"].changed(
        changes={"dim": 16, "aux_dim": 16},
        augmentation=Augmentation(size=(32, 32)),
        steps=1,
        batch_size=2,
        learning_rate=1e-12,
        weight_decay=0.0,
        start=saved(tmp_path / "classifier", source),
    )
    vision.fit_images(recipe, shapes("segment", 2, 32), None, tmp_path / "run")
    found = vision.load_images(tmp_path / "run").model.backbone.model.state_dict()
    kept = {name: weight for name, weight in source.state_dict().items() if name in found}
    assert len(kept) > 50
    assert all(torch.allclose(found[name], kept[name], atol=1e-6) for name in kept)


def test_a_classifier_is_fine_tuned_on_patches_that_overlap() -> None:
    source = VimConfig(dim=16, depth=2).build().eval()
    target = VimConfig(dim=16, depth=2, stride=(8, 8)).build().eval()
    start_from_classifier(target, source)
    assert target.config.grid == (27, 27)
    assert torch.equal(target.head.weight, source.head.weight)
    assert target(torch.zeros(1, 3, 224, 224)).shape == (1, 1000)


def test_a_head_for_other_classes_stays_fresh() -> None:
    source, target = (VimConfig(dim=16, depth=2, n_classes=n).build() for n in (10, 3))
    fresh = target.head.weight.clone()
    start_from_classifier(target, source)
    assert torch.equal(target.head.weight, fresh)
    assert torch.equal(target.norm_f.weight, source.norm_f.weight)
