from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from audiomamba import checkpoints, models
from audiomamba.data import CORPORA
from audiomamba.errors import CheckpointError


def released_state(**changes) -> dict[str, torch.Tensor]:
    """Tensors named as the authors name them."""
    torch.manual_seed(0)
    model = models.create("aum_tiny", **{"dim": 16, "depth": 2, "n_classes": 35} | changes)
    return {
        {"pos_embed": "pos_embed.pos_embed"}.get(key, key): value
        for key, value in model.state_dict().items()
    }


@pytest.mark.parametrize("direction", ["fo-fo", "fo-bi", "bi-bi"])
@pytest.mark.parametrize("wrapped", ["bare", "module.", "model"])
def test_a_released_file_becomes_a_model_folder(tmp_path, direction, wrapped):
    state = released_state(direction=direction, n_frames=128)
    content = {
        "bare": state,
        "module.": {"module." + key: value for key, value in state.items()},
        "model": {"model": state},
    }[wrapped]
    torch.save(content, tmp_path / "aum.pth")
    report = checkpoints.convert(tmp_path / "aum.pth", tmp_path / "out")
    assert report.n_tensors == len(state)
    assert report.corpus == "speech_commands"
    found = checkpoints.load(tmp_path / "out")
    assert found.model.config.direction == direction
    assert found.model.config.n_frames == 128
    assert found.front_end == CORPORA["speech_commands"].front_end
    assert len(found.labels) == 35
    for key, value in found.model.state_dict().items():
        expected = state.get(key, state["pos_embed.pos_embed"])
        torch.testing.assert_close(value, expected, rtol=0, atol=0)


def test_settings_are_read_off_the_shapes(tmp_path):
    ssm = models.SSMConfig(d_state=8, d_conv=3, expand=3, dt_rank=5)
    changes = {"class_token": "double", "patch": (32, 8), "n_frames": 64, "ssm": ssm, "depth": 3}
    save_file(released_state(**changes), tmp_path / "aum.safetensors")
    labels = [f"word {index}" for index in range(35)]
    checkpoints.convert(tmp_path / "aum.safetensors", tmp_path / "out", labels=labels)
    found = checkpoints.load(tmp_path / "out")
    assert found.labels == tuple(labels)
    for name, value in changes.items():
        assert getattr(found.model.config, name) == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layers.1.norm.weight"), r"layers\.1\.norm\.weight is missing"),
        (lambda s: s.update(oops=torch.zeros(1)), "oops is unknown"),
        (lambda s: s.update({"head.bias": torch.zeros(2)}), r"head\.bias is \(2,\)"),
        (
            lambda s: s.update({"pos_embed": torch.zeros(1)}),
            r"pos_embed\.pos_embed and pos_embed are names of the same tensor",
        ),
        (
            lambda s: s.update({"module.head.bias": torch.zeros(2)}),
            r"head\.bias and module\.head\.bias are names of the same tensor",
        ),
        (lambda s: s.pop("head.weight"), r"most like AuM, but head\.weight is missing"),
        (lambda s: s.pop("layers.0.mixer.A_log"), "not the weights of a known model"),
    ],
)
def test_every_key_is_accounted_for(tmp_path, change, message):
    state = released_state(n_frames=128)
    change(state)
    torch.save(state, tmp_path / "aum.pth")
    with pytest.raises(CheckpointError, match=message):
        checkpoints.convert(tmp_path / "aum.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def small_vim() -> dict[str, torch.Tensor]:
    return models.create("vim_tiny", dim=16, depth=1, n_classes=3).state_dict()


def small_mambaout() -> dict[str, torch.Tensor]:
    """Of MambaOut, half of the keys as the authors name them, half as timm does."""
    model = models.create("mambaout_tiny_224", depths=(1,), dims=(8,), n_classes=3)
    names = {
        "head.weight": "head.fc2.weight",
        "stages.0.0.fc2.weight": "stages.0.blocks.0.fc2.weight",
    }
    return {names.get(key, key): value for key, value in model.state_dict().items()}


def small_ast() -> dict[str, torch.Tensor]:
    """Of AST by Gong et al., everything but the head."""
    model = models.create("ast_gong_tiny", dim=24, depth=1, n_classes=3)
    return {f"v.{key}": value for key, value in model.state_dict().items() if "head" not in key}


@pytest.mark.parametrize(
    ("state", "change", "message"),
    [
        (small_vim, lambda s: s.pop("head.weight"), "like Vision Mamba, but head.weight is miss"),
        (released_state, lambda s: s.pop("head.weight"), "like AuM, but head.weight is missing"),
        (
            small_vim,
            lambda s: s.update({"patch_embed.proj.weight": torch.zeros(16, 2, 16, 16)}),
            r"shapes does not fit: .*patch_embed\.proj\.weight \(16, 2, 16, 16\)",
        ),
        (
            small_mambaout,
            lambda _: None,
            r"tensor '.*stages\.0\.0\.fc2\.weight' of MambaOut is missing",
        ),
        (
            small_ast,
            lambda _: None,
            r"like AST, but mlp_head\.0.*, mlp_head\.1\.weight are missing",
        ),
        (dict, lambda s: s.update({"head.weight": torch.zeros(1)}), "it starts with head.weight"),
        (dict, lambda s: s.update({"fc.bias": torch.zeros(1)}), r"it starts with fc\.bias"),
        (
            dict,
            lambda s: s.update({f"net.{key}": value for key, value in small_vim().items()}),
            r"without the net\. before every key it would be Vision Mamba",
        ),
    ],
)
def test_a_wrong_or_half_converted_file_is_told_what_it_is_like(tmp_path, state, change, message):
    tensors = state()
    change(tensors)
    torch.save(tensors, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match=message):
        checkpoints.convert(tmp_path / "file.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("origin", checkpoints.ORIGINS, ids=lambda it: it.name)
def test_every_origin_is_told_by_what_is_missing(tmp_path, origin):
    *others, last = origin.marks
    tensors = {mark: torch.zeros(2, 1, 2, 2) for mark in others}
    torch.save(tensors, tmp_path / "file.pth")
    with pytest.raises(CheckpointError) as error:
        checkpoints.convert(tmp_path / "file.pth", tmp_path / "out")
    alike = [it.name for it in checkpoints.ORIGINS if it.marks == origin.marks]
    assert f"most like {' or '.join(alike)}, but {last} is missing" in str(error.value)


def test_a_corpus_may_have_its_own_front_end(tmp_path):
    torch.save(released_state(n_classes=44), tmp_path / "aum.pth")
    checkpoints.convert(tmp_path / "aum.pth", tmp_path / "out")
    found = checkpoints.load(tmp_path / "out")
    assert found.scores == "softmax"
    assert (found.front_end.kind, found.front_end.sample_rate) == ("epic_sounds", 24_000)
    assert found.front_end.clip_s == pytest.approx(5.12, abs=0.01)


def test_labels_must_be_as_many_as_classes(tmp_path):
    torch.save(released_state(), tmp_path / "aum.pth")
    with pytest.raises(CheckpointError, match="2 labels for 35 classes"):
        checkpoints.convert(tmp_path / "aum.pth", tmp_path / "out", labels=["a", "b"])


def test_classes_of_no_known_corpus_are_numbered(tmp_path):
    torch.save(released_state(n_classes=2, n_frames=128), tmp_path / "aum.pth")
    checkpoint, report = checkpoints.read_released(tmp_path / "aum.pth")
    assert report.corpus is None
    assert checkpoint.labels == ("class 0", "class 1")
    assert checkpoint.notes["trained on"] == "unknown"


def test_reading_a_released_file_writes_nothing(tmp_path):
    state = released_state(n_frames=128)
    torch.save(state, tmp_path / "aum.pth")
    checkpoint, report = checkpoints.read_released(tmp_path / "aum.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["aum.pth"]
    assert (checkpoint.name, report.folder) == ("aum", None)
    assert not checkpoint.model.training
    checkpoints.convert(tmp_path / "aum.pth", tmp_path / "aum")
    loaded = checkpoints.load(tmp_path / "aum")
    assert replace(loaded, model=checkpoint.model) == checkpoint
    for key, value in loaded.model.state_dict().items():
        assert torch.equal(value, checkpoint.model.state_dict()[key])


def test_half_precision_weights_are_read_as_float32(tmp_path):
    state = {key: value.half() for key, value in released_state(n_frames=128).items()}
    torch.save(state, tmp_path / "aum.pth")
    checkpoint, _ = checkpoints.read_released(tmp_path / "aum.pth", name="half")
    assert checkpoint.name == "half"
    assert {value.dtype for value in checkpoint.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("origin", checkpoints.ORIGINS, ids=lambda it: it.name)
def test_a_tensor_that_the_settings_are_read_off_is_missed_by_name(origin):
    with pytest.raises(CheckpointError, match=r"^a\.pth: the tensor '.*' of .* is missing$"):
        origin.build({"x": torch.zeros(1)}, "a.pth")
