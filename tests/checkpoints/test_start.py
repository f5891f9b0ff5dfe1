from pathlib import Path

import pytest
import torch

from audiomamba import checkpoints, models
from audiomamba.checkpoints import aum_from_vim, start_from
from audiomamba.errors import CheckpointError

SMALL = {"depth": 1, "dim": 32}
AUM = {**SMALL, "direction": "bi-bi", "n_classes": 3, "n_mels": 64, "n_frames": 96}


@pytest.fixture
def vim(tmp_path: Path) -> Path:
    """Vision Mamba's weights as its authors release them."""
    torch.manual_seed(0)
    path = tmp_path / "vim.pth"
    torch.save({"model": models.create("vim_tiny", **SMALL).state_dict()}, path)
    return path


def test_a_released_file_is_transferred_as_the_pair_of_models_wants(vim: Path) -> None:
    one, other = models.create("aum_tiny", **AUM), models.create("aum_tiny", **AUM)
    state = torch.load(vim, weights_only=True)["model"]

    found, expected = start_from(one, vim), aum_from_vim(other, state)

    assert set(found.taken) == set(expected.taken)
    assert set(found.resized) == {"patch_embed.proj.weight", "pos_embed"}
    assert found.fresh == ("head.weight", "head.bias")
    for name in (*found.taken, *found.resized):
        assert torch.equal(one.state_dict()[name], other.state_dict()[name])


def test_a_model_of_another_size_is_refused(vim: Path) -> None:
    with pytest.raises(CheckpointError, match="layers"):
        start_from(models.create("aum_tiny", **AUM | {"depth": 2}), vim)


def test_one_kind_of_model_does_not_start_from_any_other(vim: Path) -> None:
    with pytest.raises(CheckpointError, match=r"vim.pth is a Vim, from which no CNN can start"):
        start_from(models.create("cnn_small", n_classes=3), vim)


def test_the_shipped_model_can_be_trained_on_for_other_classes() -> None:
    folder = checkpoints.find("general")
    shipped = checkpoints.load(folder).model
    model = shipped.config.changed(n_classes=4).build()

    report = start_from(model, folder)

    assert report.fresh == tuple(key for key in model.state_dict() if key.startswith("head."))
    assert report.fresh
    assert set(report.taken) == set(shipped.state_dict()) - set(report.fresh)


def test_the_same_model_for_the_same_classes_is_taken_whole() -> None:
    folder = checkpoints.find("general")
    shipped = checkpoints.load(folder).model
    model = shipped.config.build()

    report = start_from(model, folder)

    assert not report.fresh
    assert all(
        torch.equal(value, shipped.state_dict()[name]) for name, value in model.state_dict().items()
    )
