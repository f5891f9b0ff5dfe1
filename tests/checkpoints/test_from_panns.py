import pytest
import torch

from audiomamba import checkpoints, models
from audiomamba.audio.log_mel import mel_filters
from audiomamba.checkpoints.from_panns import FRONT_END, ORIGIN, config_of
from audiomamba.errors import CheckpointError


def cnn14(**changes) -> models.CNN14:
    torch.manual_seed(0)
    changes = {"n_classes": 6, "widths": (4, 6, 8, 8, 12, 16)} | changes
    return models.create("cnn14", **changes).eval()


def released(model: models.CNN14) -> dict[str, torch.Tensor]:
    """Tensors as the authors keep them, those of the front end included."""
    state = {}
    for key, value in model.state_dict().items():
        block, index, rest = key.partition("blocks.")
        name = f"conv_block{int(rest[0]) + 1}{rest[1:]}" if index else block
        state[name.replace("head.", "fc_audioset.")] = value
    for part in ("real", "imag"):
        state[f"spectrogram_extractor.stft.conv_{part}.weight"] = torch.empty(513, 1, 1024)
    state["logmel_extractor.melW"] = mel_filters(FRONT_END, torch.device("cpu"), torch.float32)
    return state


# Number of tensors and hash of keys and shapes, made from the authors' class at full size.
def test_keys_and_shapes_are_the_released_ones(fingerprint):
    with torch.device("meta"):
        model = models.create("cnn14")
        state = released(model)
    assert fingerprint(state) == (84, "bd3a5de33cb434b9")
    used, unused = ORIGIN.split(state)
    assert len(unused) == 3
    assert config_of(ORIGIN.rename(used)) == model.config


@pytest.mark.parametrize(
    ("name", "pool"),
    [("Cnn14_mAP=0.431.pth", "clip"), ("Cnn14_DecisionLevelMax_mAP=0.385.pth", "segments")],
)
def test_a_released_file_becomes_a_model_folder(tmp_path, name, pool):
    model = cnn14(pool=pool)
    torch.save({"iteration": 600_000, "model": released(model)}, tmp_path / name)
    checkpoints.convert(tmp_path / name, tmp_path / "out")
    found = checkpoints.load(tmp_path / "out")
    assert found.model.config == model.config
    assert found.front_end == FRONT_END
    x = torch.randn(1, 100, 64)
    torch.testing.assert_close(found.model(x), model(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv_block2.bn1.bias"), r"blocks\.1\.bn1\.bias is missing"),
        (lambda s: s.update(oops=torch.zeros(1)), "oops is unknown"),
        (lambda s: s.update({"logmel_extractor.melW": torch.eye(513, 64)}), "does not fit"),
        (lambda s: s.update({"logmel_extractor.melW": torch.zeros(257, 64)}), "does not fit"),
    ],
)
def test_every_key_is_accounted_for(tmp_path, change, message):
    state = released(cnn14())
    change(state)
    torch.save(state, tmp_path / "cnn14.pth")
    with pytest.raises(CheckpointError, match=message):
        checkpoints.convert(tmp_path / "cnn14.pth", tmp_path / "out")
