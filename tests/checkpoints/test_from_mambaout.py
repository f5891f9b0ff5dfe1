import re

import pytest
import torch

from audiomamba import checkpoints, models
from audiomamba.checkpoints.from_mambaout import config_of, rename
from audiomamba.errors import CheckpointError

SMALL = {"depths": (1, 2, 1), "dims": (6, 9, 12), "n_classes": 7}
AUTHORS = {"head_fc.": "head.fc1.", "head_norm.": "head.norm.", "head.": "head.fc2."}


def mambaout(name: str = "mambaout_tiny_224", **changes) -> models.MambaOut:
    torch.manual_seed(0)
    return models.create(name, **SMALL | changes).eval()


def as_authors(state):
    return {renamed(key, AUTHORS): value for key, value in state.items()}


def as_timm(state):
    """The same tensors as timm's port names them."""
    forms = {
        r"downsample_layers\.0\.": "stem.",
        r"downsample_layers\.(\d)\.": r"stages.\1.downsample.",
        r"stages\.(\d)\.": r"stages.\1.blocks.",
        r"norm\.": "head.norm.",
        r"head_fc\.": "head.pre_logits.fc.",
        r"head_norm\.": "head.pre_logits.norm.",
        r"head\.": "head.fc.",
    }
    return {renamed(key, forms): value for key, value in state.items()}


def renamed(key, forms):
    for form, name in forms.items():
        if re.match(form, key):
            return re.sub(form, name, key, count=1)
    return key


# Numbers of tensors and hashes of keys and shapes, made from the authors' classes at full size.
@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("femto", (172, "373ae3fb895d157b")),
        ("kobe", (220, "5c9c91cab79d5294")),
        ("tiny", (172, "c7a90b804bc85d4a")),
        ("small", (324, "970cd89a0dc95f20")),
        ("base", (324, "247ae7701ab78a8c")),
    ],
)
def test_keys_and_shapes_are_the_released_ones(size, expected, fingerprint):
    name = f"mambaout_{size}_224"
    with torch.device("meta"):
        state = as_authors(models.create(name).state_dict())
    assert fingerprint(state) == expected
    assert config_of(rename(state)) == models.MODELS[name]


@pytest.mark.parametrize(
    ("form", "origin"), [(as_authors, "MambaOut"), (as_timm, "MambaOut (timm)")]
)
def test_a_released_file_becomes_a_model_of_images(tmp_path, form, origin):
    model = mambaout(drop_path=0.0)
    torch.save(form(model.state_dict()), tmp_path / "mambaout.pth")
    report = checkpoints.convert(tmp_path / "mambaout.pth", tmp_path / "out")
    assert (report.origin, report.unused) == (origin, ())
    found = checkpoints.load(tmp_path / "out")
    assert found.model.config == model.config
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(found.model(image), model(image), rtol=0, atol=0)


@pytest.mark.parametrize(
    "changes", [{"conv_ratio": 0.5, "kernel": 5}, {"expand_ratio": 2.0}, {"conv_ratio": 1.25}]
)
def test_ratios_are_read_off_the_shapes(changes):
    model = mambaout(drop_path=0.0, **changes)
    assert config_of(model.state_dict()) == model.config


def test_stages_of_different_ratios_are_refused():
    state = mambaout().state_dict()
    state["stages.1.0.fc2.weight"] = torch.zeros(9, 40)
    with pytest.raises(CheckpointError, match="same ratio of inner channels"):
        config_of(state)


def test_two_names_of_one_tensor_are_refused():
    state = mambaout().state_dict()
    state["head.fc2.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"head\.weight and head\.fc2\.weight are names of"):
        rename(state)


def test_a_model_of_images_becomes_one_of_sound():
    source = mambaout()
    model = mambaout("mambaout_tiny", n_classes=4, n_mels=64)
    report = checkpoints.mambaout_from_mambaout(model, as_authors(source.state_dict()))
    assert report.resized == ("downsample_layers.0.conv1.weight",)
    assert report.fresh == ("head.weight", "head.bias")
    grey = torch.randn(2, 96, 64)
    image = grey.transpose(1, 2).unsqueeze(1).expand(-1, 3, -1, -1)
    torch.testing.assert_close(model.embed(grey), source.embed(image), rtol=1e-4, atol=1e-5)


def test_other_widths_are_no_source():
    with pytest.raises(CheckpointError, match="does not fit MambaOut"):
        checkpoints.mambaout_from_mambaout(mambaout(), mambaout(dims=(6, 9, 15)).state_dict())
