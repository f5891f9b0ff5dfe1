"""VMamba's and DASS's released files, by their keys and shapes."""

import hashlib
import re

import pytest
import torch

from audiomamba import checkpoints, models
from audiomamba.checkpoints import from_dass
from audiomamba.checkpoints.from_vmamba import ORIGIN, config_of, config_of_january_2024, rename
from audiomamba.errors import CheckpointError
from audiomamba.models.layers.downsample import ConvDownsample

# From our keys to those of VMamba's code, of January 2024, and of DASS for transformers.
RELEASED = {
    r"patch_embed\.conv1": "patch_embed.0",
    r"patch_embed\.norm1": "patch_embed.2",
    r"patch_embed\.conv2": "patch_embed.5",
    r"patch_embed\.norm2": "patch_embed.7",
    r"downsample\.conv": "downsample.1",
    r"^(norm|head)\.": r"classifier.\1.",
}
JANUARY_2024 = {
    r"patch_embed\.conv1": "patch_embed.proj",
    r"patch_embed\.norm1": "patch_embed.norm",
    r"(blocks\.\d+\.)norm\.": r"\1ln_1.",
    r"(blocks\.\d+\.)op\.": r"\1self_attention.",
}
TRANSFORMERS = {
    r"patch_embed\.conv1": "patch_embeddings.projection.0",
    r"patch_embed\.norm1": "patch_embeddings.projection.1",
    r"patch_embed\.conv2": "patch_embeddings.projection.3",
    r"patch_embed\.norm2": "patch_embeddings.projection.4",
    r"downsample\.conv": "downsample.down",
    r"(x_proj|dt_projs)_weight": r"\1.weight",
    r"^(?!head)": "dass.",
}

# Number of tensors and SHA-256 of the sorted lines "key shape" of the authors' models.
LISTINGS = [
    (
        "vmamba_tiny_s1l8",
        RELEASED,
        276,
        "82574593b3977ed39f9ecd7c2feb80ccee81617eb8414a66bc5e7f5a6ec9afde",
    ),
    (
        "vmamba_tiny_s2l5",
        RELEASED,
        222,
        "18d34f205cd8551017e8c2bfe9865071ca28398318b3451564cc218faa141ab9",
    ),
    (
        "vmamba_tiny_v0",
        RELEASED,
        212,
        "7fa0c87fc68fdfcc4a00d99775b6d1460309902762ff4b4706aff350222b5d6a",
    ),
    (
        "vmamba_tiny_v0",
        JANUARY_2024,
        212,
        "343faddf6d07b8c61dc3ec67eb27569a2f0c404da7ed28c1412d94e1c1e7ca84",
    ),
]
SIZE = {"depths": (1, 2), "dims": (8, 16), "n_classes": 5}


def released(model, forms) -> dict[str, torch.Tensor]:
    """A model's tensors under the keys of a release."""
    state = {}
    for key, value in model.state_dict().items():
        name = key
        for form, replacement in forms.items():
            name = re.sub(form, replacement, name)
        if forms is RELEASED and isinstance(model.layers[0].downsample, ConvDownsample):
            name = name.replace("downsample.norm", "downsample.3")
        flat = forms is TRANSFORMERS and re.search(r"(x_proj|dt_projs)_weight", key)
        state[name] = value.flatten(0, 1) if flat else value
    return state


def small(name="vmamba_tiny_s2l5", **changes) -> models.VMamba:
    torch.manual_seed(0)
    return models.create(name, **SIZE | changes).eval()


@pytest.mark.parametrize(("name", "forms", "n_keys", "digest"), LISTINGS)
def test_keys_and_shapes_are_those_of_the_authors_models(name, forms, n_keys, digest):
    with torch.device("meta"):
        model = models.create(name)
    state = released(model, forms)
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in state.items())
    assert len(lines) == n_keys
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == digest
    renamed = rename(state)
    assert renamed.keys() == model.state_dict().keys()
    read = config_of_january_2024 if forms is JANUARY_2024 else config_of
    kind = "merge-crop" if forms is JANUARY_2024 else model.config.downsample
    assert read(renamed, drop_path=0.2) == model.config.changed(downsample=kind)


@pytest.mark.parametrize(
    ("name", "forms", "origin"),
    [
        ("vmamba_tiny_v0", RELEASED, "VMamba"),
        ("vmamba_tiny_v0", JANUARY_2024, "VMamba (January 2024)"),
        ("vmamba_tiny_s2l5", RELEASED, "VMamba"),
        ("dass_small", TRANSFORMERS, "DASS (transformers)"),
        ("dass_small", RELEASED, "DASS"),
    ],
)
def test_a_released_file_becomes_a_model_folder(tmp_path, name, forms, origin):
    model = small(name)
    state = released(model, forms)
    if origin == "DASS":
        state = {"module.v." + key: value for key, value in state.items()}
    torch.save({"model": state}, tmp_path / "released.pth")
    report = checkpoints.convert(tmp_path / "released.pth", tmp_path / "out")
    assert (report.origin, report.unused) == (origin, ())
    found = checkpoints.load(tmp_path / "out")
    assert (found.front_end is None) == (model.config.n_channels == 3)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(found.model.state_dict()[key], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"patch_norm": False},
        {"patch": 8, "patch_norm": False, "patch_embed": "patch", "downsample": "conv2"},
        {"mlp": models.MLPConfig(kind="gated", ratio=3.0), "downsample": "merge"},
        {"mlp": None, "n_channels": 1, "depths": (1,), "dims": (8,)},
        {"ss2d": models.SS2DConfig(d_state=3, ratio=1.5, dt_rank=4, d_conv=5, gate=False)},
        {"ss2d": models.SS2DConfig(d_conv=1)},
    ],
)
def test_settings_are_read_off_the_shapes(changes):
    model = small(**changes)
    found = config_of(rename(released(model, RELEASED)))
    for name, value in changes.items():
        if name != "downsample" or len(model.config.depths) > 1:
            assert getattr(found, name) == value


def test_linear_layers_may_be_stored_as_convolutions():
    model = small()
    state = {
        key: value[:, :, None, None] if re.search(r"(proj|fc.)\.weight", key) else value
        for key, value in released(model, RELEASED).items()
    }
    found = ORIGIN.build(state, "a file").state_dict()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=0)


@pytest.mark.parametrize("build", [ORIGIN.build, from_dass.ORIGIN.build])
def test_every_key_is_accounted_for(build):
    state = released(small(), RELEASED)
    with pytest.raises(CheckpointError, match="pos_embed is unknown"):
        build(state | {"pos_embed": torch.zeros(1)}, "a file")
    missing = {key: value for key, value in state.items() if "1.blocks.1.norm.w" not in key}
    with pytest.raises(CheckpointError, match=r"layers\.1\.blocks\.1\.norm\.weight is missing"):
        build(missing, "a file")
    for key in ("patch_embed.0.weight", "classifier.head.weight", "layers.0.blocks.0.op.A_logs"):
        with pytest.raises(CheckpointError, match=r"the tensor '\S+' of \w+ is missing"):
            build({name: value for name, value in state.items() if name != key}, "a file")


def test_a_model_of_sound_starts_from_one_of_images():
    source, model = small("vmamba_tiny_s1l8"), small("dass_small", n_classes=3)
    head = model.head.weight.clone()
    report = checkpoints.dass_from_vmamba(model, released(source, RELEASED))
    assert report.resized == ("patch_embed.conv1.weight",)
    assert report.fresh == report.unused == ("head.weight", "head.bias")
    kernel = source.patch_embed.conv1.weight.sum(dim=1, keepdim=True)
    torch.testing.assert_close(model.patch_embed.conv1.weight, kernel)
    torch.testing.assert_close(model.head.weight, head)
    for key in report.taken:
        torch.testing.assert_close(model.state_dict()[key], source.state_dict()[key])
    with pytest.raises(CheckpointError, match="the source does not fit VMamba"):
        checkpoints.dass_from_vmamba(model, released(small("vmamba_tiny_s2l5"), RELEASED))


def audiomamba(**changes) -> models.AudioMamba:
    return models.create("audiomamba_tiny", **SIZE | {"image_size": 128} | changes)


def test_audio_mamba_takes_what_fits_of_a_model_of_images():
    source, model = small("vmamba_tiny_v0"), audiomamba()
    report = checkpoints.audiomamba_from_vmamba(model, released(source, JANUARY_2024))
    assert report.resized == ("patch_embed.conv1.weight",)
    own = model.state_dict()
    assert sorted((*report.taken, *report.resized, *report.fresh)) == sorted(own)
    assert {key.split(".")[0] for key in report.fresh} == {"bn0", "head", "layers"}
    assert all("mlp" in k or "norm2" in k or "downsample" in k for k in report.fresh if "la" in k)
    assert {"head.weight", "layers.0.downsample.reduction.weight"} <= set(report.unused)
    for key in report.taken:
        torch.testing.assert_close(own[key], source.state_dict()[key])


def test_a_model_of_images_that_does_not_fit_is_refused():
    with pytest.raises(CheckpointError, match="no tensor of the source fits"):
        checkpoints.audiomamba_from_vmamba(
            audiomamba(), released(small(dims=(4, 12), patch_norm=False), RELEASED)
        )
    with pytest.raises(CheckpointError, match="the source has no patch embedding"):
        checkpoints.audiomamba_from_vmamba(audiomamba(), {})
