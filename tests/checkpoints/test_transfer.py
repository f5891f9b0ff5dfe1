import pytest
import torch

from audiomamba import checkpoints, models
from audiomamba.errors import CheckpointError

SIZE = {"n_mels": 32, "n_frames": 64, "dim": 16, "depth": 1, "patch": (8, 8), "n_classes": 3}


def aum(**changes) -> models.AuM:
    return models.create("aum_tiny", **SIZE | changes)


def test_the_same_size_is_copied():
    source, model = aum(), aum()
    report = checkpoints.aum_from_aum(model, source.state_dict(), source.config)
    assert report.fresh == report.unused == report.resized == ()
    for key, value in source.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value)


def test_other_classes_keep_a_fresh_head():
    source, model = aum(), aum(n_classes=4)
    fresh = model.head.weight.clone()
    report = checkpoints.aum_from_aum(model, source.state_dict(), source.config)
    assert report.fresh == report.unused == ("head.weight", "head.bias")
    torch.testing.assert_close(model.head.weight, fresh)


def test_another_length_resizes_positions_only():
    source, model = aum(), aum(n_frames=96)
    report = checkpoints.aum_from_aum(model, source.state_dict(), source.config)
    assert report.resized == ("pos_embed",)


def test_another_patch_resizes_the_kernel():
    source, model = aum(), aum(patch=(16, 16))
    report = checkpoints.aum_from_aum(model, source.state_dict(), source.config)
    assert set(report.resized) == {"pos_embed", "patch_embed.proj.weight"}


def test_another_width_is_refused():
    source = aum(dim=24)
    with pytest.raises(CheckpointError, match="the source does not fit AuM"):
        checkpoints.aum_from_aum(aum(), source.state_dict(), source.config)


def test_images_of_another_shape_are_refused():
    state = {
        "pos_embed": torch.zeros(1, 12, 16),
        "patch_embed.proj.weight": torch.zeros(16, 3, 8, 8),
    }
    with pytest.raises(CheckpointError, match="12 rows; expected one and a square grid"):
        checkpoints.aum_from_vim(aum(direction="bi-bi"), state)
    with pytest.raises(CheckpointError, match="tensor 'pos_embed' is missing"):
        checkpoints.aum_from_vim(aum(direction="bi-bi"), {})
