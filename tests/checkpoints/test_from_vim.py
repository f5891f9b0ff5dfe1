import pytest
import torch

from audiomamba import checkpoints, models
from audiomamba.checkpoints.from_vim import ORIGIN, config_of
from audiomamba.errors import CheckpointError
from audiomamba.models.vim import rotary_angles

SMALL = {"dim": 16, "depth": 2, "n_classes": 6}


def vim(**changes) -> models.Vim:
    torch.manual_seed(0)
    return models.create("vim_tiny", **SMALL | changes).eval()


# Numbers of tensors and hashes of keys and shapes, made from the authors' classes at full size.
@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("vim_tiny", {}, (415, "d81268ec41ce2cd9")),
        ("vim_small", {}, (415, "69a67695605fefcb")),
        ("vim_base", {}, (415, "182a924b25614d56")),
        ("vim_tiny", {"stride": (8, 8)}, (415, "19ebd2b8940f381a")),
        ("vim_small", {"stride": (8, 8)}, (415, "f9e25910b0527a2a")),
    ],
)
def test_keys_and_shapes_are_the_released_ones(name, changes, expected, fingerprint):
    with torch.device("meta"):
        state = models.create(name, **changes).state_dict()
    assert fingerprint(state) == expected
    assert config_of(state) == models.MODELS[name].changed(**changes)


@pytest.mark.parametrize("stride", [None, (8, 8)])
def test_a_released_file_becomes_a_model_of_images(tmp_path, stride):
    model = vim(stride=stride)
    torch.save({"model": model.state_dict()}, tmp_path / "vim.pth")
    report = checkpoints.convert(tmp_path / "vim.pth", tmp_path / "out")
    assert (report.origin, report.corpus) == ("Vision Mamba", None)
    found = checkpoints.load(tmp_path / "out")
    assert (found.front_end, found.scores) == (None, "softmax")
    assert found.model.config == model.config
    image = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(found.model(image), model(image), rtol=0, atol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"direction": "fo-bi", "class_token": "double", "n_mels": 64, "n_frames": 64},
        {"direction": "fo-fo", "norm": "layer", "n_mels": 48, "n_frames": 48, "patch": (8, 8)},
        {"class_token": "none", "ssm": models.SSMConfig(d_state=8, dt_rank=3)},
    ],
)
def test_settings_are_read_off_the_shapes(changes):
    model = vim(**changes)
    assert ORIGIN.build(model.state_dict(), "it").config == model.config


@pytest.mark.parametrize("side", [4, 14, 24])
def test_rotary_tables_say_how_far_the_positions_run(tmp_path, side):
    model = vim(positions=models.RotaryPositions(side=side), n_mels=64, n_frames=64)
    angles = rotary_angles((4, 4), 16, side, torch.device("cpu")).repeat_interleave(2, dim=1)
    state = model.state_dict()
    state |= {"rope.freqs_cos": angles.cos(), "rope.freqs_sin": angles.sin()}
    torch.save(state, tmp_path / "vim.pth")
    checkpoints.convert(tmp_path / "vim.pth", tmp_path / "out")
    found = checkpoints.load(tmp_path / "out").model
    assert found.config == model.config
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(found(image), model(image), rtol=0, atol=0)
    state["rope.freqs_cos"] = angles.cos() + 0.01
    with pytest.raises(CheckpointError, match=r"rope\.freqs_cos is not the table of Rotary"):
        ORIGIN.build(state, "it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layers.1.norm.weight"), r"layers\.1\.norm\.weight is missing"),
        (lambda s: s.update(oops=torch.zeros(1)), "oops is unknown"),
        (lambda s: s.update(pos_embed=torch.zeros(1, 8, 16)), "rows for 7 patches"),
        (lambda s: s.pop("norm_f.weight"), r"most like .*norm_f\.weight is missing"),
    ],
)
def test_every_key_is_accounted_for(tmp_path, change, message):
    state = vim().state_dict()
    change(state)
    torch.save(state, tmp_path / "vim.pth")
    with pytest.raises(CheckpointError, match=message):
        checkpoints.convert(tmp_path / "vim.pth", tmp_path / "out")
