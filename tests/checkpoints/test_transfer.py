import pytest
import torch

from audiomamba import checkpoints, models
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints.transfer import mobile_aum_from_efficientat
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


def test_a_mobile_aum_starts_from_an_efficientat(tmp_path):
    source = models.create("mn01_as", n_classes=5, n_mels=64)
    checkpoints.save(
        tmp_path,
        checkpoints.Checkpoint(
            name="teacher",
            model=source,
            front_end=FrontEnd(n_mels=64, n_frames=1000),
            labels=tuple("abcde"),
            scores="sigmoid",
        ),
    )
    hidden = source.head.hidden.weight
    size = {"width": 0.1, "n_mels": 64, "embed_dim": hidden.shape[1], "n_hidden": hidden.shape[0]}
    model = models.create("mobile_aum_small", n_classes=5, **size)
    report = checkpoints.start_from(model, tmp_path)
    ours, theirs = model.state_dict(), source.state_dict()
    assert {key.split(".")[0] for key in report.taken} == {"stem", "blocks", "head"}
    assert all(torch.equal(ours[key], theirs[key]) for key in report.taken)
    assert set(report.taken) | set(report.fresh) == set(ours)
    assert {key.split(".")[1] for key in report.unused if key.startswith("blocks")} == {
        "11",
        "12",
        "13",
        "14",
    }


def test_a_mobile_aum_of_other_classes_keeps_its_head():
    source = models.create("mn01_as", n_classes=5)
    model = models.create("mobile_aum_small", n_classes=3, width=0.1)
    head = model.head.output.weight.clone()
    report = mobile_aum_from_efficientat(model, source.state_dict())
    assert "head.output.weight" in report.fresh
    assert "head.hidden.weight" in report.fresh
    assert torch.equal(model.head.output.weight, head)


def test_a_mobile_aum_of_another_width_is_refused():
    source = models.create("mn02_as")
    with pytest.raises(CheckpointError, match="expected"):
        mobile_aum_from_efficientat(
            models.create("mobile_aum_small", width=0.4), source.state_dict()
        )
