from dataclasses import replace

import pytest
import torch

from audiomamba import checkpoints, models
from audiomamba.audio.log_mel import mel_filters
from audiomamba.checkpoints.from_htsat import ORIGIN, config_of
from audiomamba.checkpoints.from_panns import FRONT_END
from audiomamba.errors import CheckpointError

SMALL = {"dim": 8, "depths": (1, 2), "n_heads": (2, 4)}


def htsat(**changes) -> models.HTSAT:
    torch.manual_seed(0)
    return models.create("htsat_tiny", **{"n_classes": 6} | SMALL | changes).eval()


def released(model: models.HTSAT, front_end=FRONT_END) -> dict[str, torch.Tensor]:
    """Tensors as the authors keep them, those that can be computed or are not used included."""
    config = model.config
    state = {
        key.replace("head.conv.", "tscam_conv."): value for key, value in model.state_dict().items()
    }
    n_bins = front_end.window_samples // 2 + 1
    for part in ("real", "imag"):
        kernel = torch.empty(n_bins, 1, front_end.window_samples)
        state[f"spectrogram_extractor.stft.conv_{part}.weight"] = kernel
    state["logmel_extractor.melW"] = mel_filters(front_end, torch.device("cpu"), torch.float32)
    for stage, layer in enumerate(model.layers):
        rows, columns = config.map_size(stage)
        for index, block in enumerate(layer.blocks):
            n_tokens, start = block.attn.window**2, f"layers.{stage}.blocks.{index}."
            state[start + "attn.relative_position_index"] = torch.empty(n_tokens, n_tokens)
            if block.attn.shift:
                n_windows = rows * columns // n_tokens
                state[start + "attn_mask"] = torch.empty(n_windows, n_tokens, n_tokens)
    if config.head == "token-semantic":
        state["head.weight"] = torch.empty(config.n_classes, config.n_classes)
        state["head.bias"] = torch.empty(config.n_classes)
    return state


# Numbers of tensors and hashes of keys and shapes, made from the authors' class at full size.
@pytest.mark.parametrize(
    ("n_classes", "expected"), [(527, (200, "5ad3456d6474e8e2")), (50, (200, "9968114634e47388"))]
)
def test_keys_and_shapes_are_the_released_ones(n_classes, expected, fingerprint):
    with torch.device("meta"):
        model = models.create("htsat_tiny", n_classes=n_classes)
        state = released(model)
    assert fingerprint(state) == expected
    used, unused = ORIGIN.split(state)
    assert len(unused) == 3 + 12 + 5 + 2
    assert config_of(ORIGIN.rename(used)) == model.config


@pytest.mark.parametrize("head", ["token-semantic", "linear"])
def test_a_released_file_becomes_a_model_folder(tmp_path, head):
    model = htsat(head=head)
    state = {f"sed_model.{key}": value for key, value in released(model).items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "htsat.ckpt")
    report = checkpoints.convert(tmp_path / "htsat.ckpt", tmp_path / "out")
    assert ("head.weight" in report.unused) == (head == "token-semantic")
    found = checkpoints.load(tmp_path / "out")
    assert found.model.config == model.config
    assert found.front_end == FRONT_END
    x = torch.randn(1, 1001, 64)
    torch.testing.assert_close(found.model(x), model(x), rtol=0, atol=0)


def test_a_model_of_esc50_chooses_one_of_fifty_names(tmp_path):
    torch.save(released(htsat(n_classes=50)), tmp_path / "htsat.pth")
    checkpoints.convert(tmp_path / "htsat.pth", tmp_path / "out")
    found = checkpoints.load(tmp_path / "out")
    assert found.scores == "softmax"
    assert (found.labels[0], found.labels[49]) == ("dog", "hand_saw")
    assert found.front_end == FRONT_END


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layers.1.blocks.1.norm1.bias"), r"blocks\.1\.norm1\.bias is missing"),
        (lambda s: s.update(oops=torch.zeros(1)), "oops is unknown"),
        (lambda s: s.pop("layers.0.downsample.norm.bias"), r"downsample\.norm\.bias is missing"),
        (lambda s: s.pop("bn0.weight"), r"most like HTS-AT.*, but bn0\.weight is missing"),
    ],
)
def test_every_key_is_accounted_for(tmp_path, change, message):
    state = released(htsat())
    change(state)
    torch.save(state, tmp_path / "htsat.pth")
    with pytest.raises(CheckpointError, match=message):
        checkpoints.convert(tmp_path / "htsat.pth", tmp_path / "out")


def test_weights_for_another_front_end_are_refused(tmp_path):
    other = replace(FRONT_END, sample_rate=16_000, frame_length_ms=64.0, high_hz=8000.0)
    torch.save(released(htsat(), other), tmp_path / "htsat.pth")
    with pytest.raises(CheckpointError, match=r"most like HTS-AT.*does not fit"):
        checkpoints.convert(tmp_path / "htsat.pth", tmp_path / "out")
