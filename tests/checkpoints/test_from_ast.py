import pytest
import torch

from audiomamba import checkpoints, models
from audiomamba.checkpoints.from_ast import ORIGIN, config_of, rename
from audiomamba.data import CORPORA
from audiomamba.errors import CheckpointError

SMALL = {"dim": 64, "depth": 2, "n_heads": 1}
DISTILLED = "with-distillation"


def released(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors under the names that AST's authors give them."""
    names = {"head_norm": "mlp_head.0", "head": "mlp_head.1"}
    parts = [key.partition(".") for key in state]
    renamed = [f"{names[a]}.{b}" if a in names else f"v.{a}{dot}{b}" for a, dot, b in parts]
    return dict(zip(renamed, state.values(), strict=True))


def with_image_heads(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same with the two image classifiers that AST's authors keep and do not use."""
    dim = state["v.norm.weight"].shape[0]
    for name in ("v.head", "v.head_dist"):
        state[f"{name}.weight"] = state["v.norm.weight"].new_empty(1000, dim)
        state[f"{name}.bias"] = state["v.norm.weight"].new_empty(1000)
    return state


def hugging_face(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors under the names of the Hugging Face library."""
    out = {}
    n_blocks = sum(key.endswith(".norm1.weight") for key in state)
    for start, ours in {
        "embeddings.cls_token": "cls_token",
        "embeddings.distillation_token": "dist_token",
        "embeddings.position_embeddings": "pos_embed",
    }.items():
        out[f"audio_spectrogram_transformer.{start}"] = state[ours]
    pairs = {
        "audio_spectrogram_transformer.embeddings.patch_embeddings.projection": "patch_embed.proj",
        "audio_spectrogram_transformer.layernorm": "norm",
        "classifier.layernorm": "head_norm",
        "classifier.dense": "head",
    }
    for index in range(n_blocks):
        layer, block = f"audio_spectrogram_transformer.encoder.layer.{index}", f"blocks.{index}"
        pairs |= {
            f"{layer}.attention.output.dense": f"{block}.attn.proj",
            f"{layer}.intermediate.dense": f"{block}.mlp.fc1",
            f"{layer}.output.dense": f"{block}.mlp.fc2",
            f"{layer}.layernorm_before": f"{block}.norm1",
            f"{layer}.layernorm_after": f"{block}.norm2",
        }
        for kind in ("weight", "bias"):
            joined = state[f"{block}.attn.qkv.{kind}"].chunk(3)
            for name, part in zip(("query", "key", "value"), joined, strict=True):
                out[f"{layer}.attention.attention.{name}.{kind}"] = part.clone()
    for theirs, ours in pairs.items():
        out |= {f"{theirs}.{kind}": state[f"{ours}.{kind}"] for kind in ("weight", "bias")}
    return out


def ast(name: str = "ast_tiny", **changes) -> models.AST:
    torch.manual_seed(0)
    return models.create(name, **SMALL | changes).eval()


# Numbers of tensors and hashes of keys and shapes, made from the authors' classes at full size.
@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("ast_small", {}, (154, "0c47e658a8e4d910")),
        ("ast_base", {}, (154, "82c27f95fdb7f267")),
        ("ast_gong_tiny", {}, (159, "bf54ec7869634f2d")),
        ("ast_gong_small", {}, (159, "32392d50c9c91a50")),
        ("ast_gong_base", {}, (159, "9784062f54f2e373")),
        ("ast_gong_base", {"stride": (16, 16)}, (159, "fcbad8909a4ca603")),
    ],
)
def test_keys_and_shapes_are_the_released_ones(name, changes, expected, fingerprint):
    with torch.device("meta"):
        model = models.create(name, **changes)
        state = released(model.state_dict())
        state = state if expected[0] == 154 else with_image_heads(state)
    assert fingerprint(state) == expected
    used, _ = ORIGIN.split(state)
    assert config_of(rename(used)) == model.config


@pytest.mark.parametrize("size", ["deit_tiny", "deit_small", "deit_base"])
def test_deit_settings_are_read_off_the_shapes(size):
    with torch.device("meta"):
        model = models.create(size)
    assert config_of(model.state_dict()) == model.config


@pytest.mark.parametrize("stride", [10, 12, 14, 16])
def test_the_stride_follows_from_the_number_of_positions(stride):
    for n_frames in (128, 512, 1024):
        changes = {"stride": (stride, stride), "n_frames": n_frames, "n_classes": 2}
        with torch.device("meta"):
            model = models.create("ast_tiny", **changes)
        assert config_of(model.state_dict()) == model.config


@pytest.mark.parametrize("form", ["aum", "gong", "hugging face"])
def test_a_released_file_becomes_a_model_folder(tmp_path, form):
    changes = {"stride": (10, 10), "class_tokens": DISTILLED} if form != "aum" else {}
    model = ast(n_classes=35, n_frames=128, **changes)
    state = model.state_dict()
    if form == "hugging face":
        state = hugging_face(state)
    else:
        state = released(state)
        state = with_image_heads(state) if form == "gong" else state
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "ast.pth")
    report = checkpoints.convert(tmp_path / "ast.pth", tmp_path / "out")
    assert len(report.unused) == (4 if form == "gong" else 0)
    found = checkpoints.load(tmp_path / "out")
    assert found.model.config == model.config
    assert found.front_end == CORPORA["speech_commands"].front_end
    x = torch.randn(1, 128, 128)
    torch.testing.assert_close(found.model(x), model(x), rtol=0, atol=0)


def test_a_deit_file_becomes_a_model_of_images(tmp_path):
    model = ast("deit_tiny", n_mels=64, n_frames=64)
    torch.save({"model": model.state_dict()}, tmp_path / "deit.pth")
    report = checkpoints.convert(tmp_path / "deit.pth", tmp_path / "out")
    assert (report.origin, report.unused) == ("DeiT (timm)", ())
    found = checkpoints.load(tmp_path / "out")
    assert (found.front_end, found.scores) == (None, "softmax")
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(found.model(image), model(image), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("v.blocks.1.norm1.bias"), r"blocks\.1\.norm1\.bias is missing"),
        (lambda s: s.update({"v.oops": torch.zeros(1)}), "oops is unknown"),
        (
            lambda s: s.update(cls_token=s["v.cls_token"]),
            "v.cls_token and cls_token are names of the same",
        ),
        (lambda s: s.update({"v.pos_embed": torch.zeros(1, 6, 64)}), "rows for 5 patches, which"),
        (lambda s: s.pop("mlp_head.0.weight"), r"most like AST, but mlp_head\.0\.weight is miss"),
    ],
)
def test_every_key_is_accounted_for(tmp_path, change, message):
    state = released(ast(n_frames=128).state_dict())
    change(state)
    torch.save(state, tmp_path / "ast.pth")
    with pytest.raises(CheckpointError, match=message):
        checkpoints.convert(tmp_path / "ast.pth", tmp_path / "out")


def test_a_missing_value_is_named():
    state = hugging_face(ast(class_tokens=DISTILLED, n_frames=128).state_dict())
    del state["audio_spectrogram_transformer.encoder.layer.0.attention.attention.value.bias"]
    with pytest.raises(CheckpointError, match=r"blocks\.0\.attn\.value\.bias is missing"):
        ORIGIN.build(state, "it")


def test_a_distilled_deit_is_refused(tmp_path):
    state = ast("deit_tiny", n_mels=64, n_frames=64, class_tokens=DISTILLED).state_dict()
    state["head_dist.bias"] = state["head.bias"]
    torch.save(state, tmp_path / "deit.pth")
    with pytest.raises(CheckpointError, match=r"head_dist\.bias is unknown"):
        checkpoints.convert(tmp_path / "deit.pth", tmp_path / "out")
