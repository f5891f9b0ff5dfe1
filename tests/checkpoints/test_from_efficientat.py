import pytest
import torch

from audiomamba import checkpoints, models
from audiomamba.checkpoints.from_efficientat import FRONT_END, config_of, fields_of_name, rename
from audiomamba.errors import CheckpointError

RELEASED_EFFICIENTAT = [it for it in checkpoints.RELEASED if it.model.startswith("mn")]
HEADS = {
    "head.hidden.": "classifier.2.",
    "head.output.": "classifier.5.",
    "head.conv.": "classifier.0.",
    "head.norm.": "classifier.1.",
}


def efficientat(name: str = "mn01_as", **changes) -> models.EfficientAT:
    torch.manual_seed(0)
    return models.create(name, **{"n_classes": 6} | changes).eval()


def released(model: models.EfficientAT) -> dict[str, torch.Tensor]:
    """Tensors as the authors keep them."""
    return {released_key(key, model): value for key, value in model.state_dict().items()}


def released_key(key: str, model: models.EfficientAT) -> str:
    for ours, theirs in HEADS.items():
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    key = key.replace("conv.", "0.").replace("norm.", "1.")
    if key.startswith("stem."):
        return key.replace("stem.", "features.0.")
    if key.startswith("last."):
        return key.replace("last.", "features.16.")
    _, index, part, rest = key.split(".", 3)
    block = model.blocks[int(index)]
    parts = ["expand", "depthwise", "squeeze", "project"]
    layer = [name for name in parts if getattr(block, name) is not None].index(part)
    inside = "conc_se_layers.0." if part == "squeeze" else ""
    return f"features.{int(index) + 1}.block.{layer}.{inside}{rest}"


# Number of tensors and hash of keys and shapes, made from the released file.
def test_keys_and_shapes_are_the_released_ones(fingerprint):
    with torch.device("meta"):
        model = models.create("mn04_as")
        state = released(model)
    assert fingerprint(state) == (312, "8d86fb644905d37c")
    assert config_of(rename(state)) == model.config


@pytest.mark.parametrize("name", sorted({it.model for it in RELEASED_EFFICIENTAT}))
def test_settings_are_read_off_tensors_and_file_name(name):
    entry = next(it for it in RELEASED_EFFICIENTAT if it.model == name)
    with torch.device("meta"):
        model = models.create(name)
        state = released(model)
    renamed = rename(state)
    assert set(renamed) == set(model.state_dict())
    assert config_of(renamed, **fields_of_name(entry.files[0])) == model.config


@pytest.mark.parametrize(
    ("file", "settings", "hop_ms"),
    [
        ("mn01_as_mAP_298.pt", {}, 10.0),
        ("mn10_as_hop_15_mAP_463.pt", {"n_frames": 667}, 15.0),
        ("mn10_as_mels_40_mAP_453.pt", {"n_mels": 40}, 10.0),
        (
            "mn10_as_fc_s2211_mAP_466.pt",
            {"head": "fully-convolutional", "strides": (2, 2, 1, 1)},
            10.0,
        ),
    ],
)
def test_a_released_file_becomes_a_model_folder(tmp_path, file, settings, hop_ms):
    model = efficientat(**settings)
    torch.save(released(model), tmp_path / file)
    report = checkpoints.convert(tmp_path / file, tmp_path / "out")
    found = checkpoints.load(tmp_path / "out")
    assert report.origin.startswith("EfficientAT")
    assert (found.license, found.scores) == ("MIT", "sigmoid")
    assert found.model.config == model.config
    front_end = found.front_end
    assert front_end.kind == "efficientat"
    assert front_end.frame_shift_ms == hop_ms
    assert (front_end.n_mels, front_end.n_frames) == (model.config.n_mels, model.config.n_frames)
    assert front_end.clip_s == pytest.approx(10, abs=0.01)
    x = torch.randn(1, 100, model.config.n_mels)
    torch.testing.assert_close(found.model(x), model(x), rtol=0, atol=0)


def test_the_front_end_is_that_of_the_released_models(tmp_path):
    torch.save(released(efficientat(n_classes=527)), tmp_path / "mn01_as.pt")
    report = checkpoints.convert(tmp_path / "mn01_as.pt", tmp_path / "out")
    found = checkpoints.load(tmp_path / "out")
    assert report.corpus == "audioset"
    assert found.labels[0] == "Speech"
    assert found.front_end == FRONT_END
    assert FRONT_END.n_samples == 320_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("features.3.block.1.1.bias"), "norm.bias is missing"),
        (lambda s: s.update(oops=torch.zeros(1)), "oops is unknown"),
        (lambda s: s.pop("features.3.block.1.0.weight"), "is missing"),
        (
            lambda s: s.update({"features.0.0.weight": torch.zeros(10, 1, 3, 3)}),
            "not those of a MobileNetV3 of any width",
        ),
        (lambda s: s.update({"features.17.0.weight": torch.zeros(1)}), "features.17.*is unknown"),
        (lambda s: s.update({"features.17.block.0.0.weight": torch.zeros(1)}), "is unknown"),
    ],
)
def test_every_key_is_accounted_for(tmp_path, change, message):
    state = released(efficientat())
    change(state)
    torch.save(state, tmp_path / "mn01_as.pt")
    with pytest.raises(CheckpointError, match=message):
        checkpoints.convert(tmp_path / "mn01_as.pt", tmp_path / "out")


def test_a_hop_that_was_never_released_is_refused(tmp_path):
    torch.save(released(efficientat()), tmp_path / "mn10_as_hop_7_mAP_463.pt")
    with pytest.raises(CheckpointError, match="a hop of 7 ms; expected 5, 10, 15, 20, 25"):
        checkpoints.convert(tmp_path / "mn10_as_hop_7_mAP_463.pt", tmp_path / "out")


def test_the_table_names_every_file_once():
    addresses = [it.address for it in RELEASED_EFFICIENTAT]
    assert len(set(addresses)) == len(addresses) == 26
    assert {it.model for it in RELEASED_EFFICIENTAT} == {
        name for name in models.names() if name.startswith("mn")
    }
    scores = {it.model: it.score for it in reversed(RELEASED_EFFICIENTAT)}
    found = [scores[name] for name in ("mn04_as", "mn40_as_ext", "mn10_as_hop_25")]
    assert found == [43.2, 48.7, 44.7]
