import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from audiomamba import checkpoints
from audiomamba.checkpoints.state import read_state
from audiomamba.errors import CheckpointError, ConfigError, UnknownNameError
from audiomamba.models.ood import fit_ood_detector


@pytest.fixture
def folder(checkpoint, tmp_path):
    checkpoints.save(tmp_path / "model", checkpoint)
    return tmp_path / "model"


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


def change_weights(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def test_what_is_saved_is_loaded(checkpoint, folder):
    found = checkpoints.load(folder)
    assert replace(found, model=checkpoint.model) == checkpoint
    assert found.model.config == checkpoint.model.config
    assert not found.model.training
    x = torch.randn(2, 64, 32)
    torch.testing.assert_close(found.model(x), checkpoint.model(x), rtol=0, atol=0)


def test_thresholds_are_saved_with_the_model(checkpoint, tmp_path):
    checkpoints.save(tmp_path, replace(checkpoint, thresholds=(0.25, 0.5)))
    assert checkpoints.load(tmp_path).thresholds == (0.25, 0.5)
    for wrong, message in (([0.5], "1 thresholds for 2 labels"), (["high", 1], "'high'")):
        change_config(tmp_path, thresholds=wrong)
        with pytest.raises(CheckpointError, match=message):
            checkpoints.load(tmp_path)


def test_an_out_of_distribution_detector_is_saved_with_the_model(checkpoint, tmp_path):
    dim = checkpoint.model.head.in_features
    embeddings = torch.randn(3 * dim, dim)
    targets = torch.eye(len(checkpoint.labels))[torch.arange(3 * dim) % len(checkpoint.labels)]
    detector = fit_ood_detector(embeddings, targets, limit=2.0)
    checkpoints.save(tmp_path, replace(checkpoint, ood_detector=detector), dtype=torch.float16)
    found = checkpoints.load(tmp_path)
    assert found.ood_detector.limit == 2.0
    x = torch.randn(5, dim)
    torch.testing.assert_close(found.ood_detector(x), detector(x), rtol=0.02, atol=0.02)
    state = load_file(tmp_path / "model.safetensors")
    del state["familiarity.means"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"familiarity\.means is missing"):
        checkpoints.load(tmp_path)


def test_half_precision_halves_the_file_and_little_else(checkpoint, tmp_path):
    checkpoints.save(tmp_path / "model", checkpoint)
    checkpoints.save(tmp_path / "half", checkpoint, dtype=torch.float16)
    sizes = [(tmp_path / n / "model.safetensors").stat().st_size for n in ("model", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    model = checkpoints.load(tmp_path / "half").model
    assert next(model.parameters()).dtype == torch.float32
    x = torch.randn(1, 64, 32)
    torch.testing.assert_close(model(x), checkpoint.model(x), rtol=0.01, atol=0.01)


def test_saving_again_replaces(checkpoint, folder):
    checkpoints.save(folder, replace(checkpoint, name="other"))
    assert checkpoints.load(folder).name == "other"
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "modeling_audiomamba.py",
        "preprocessor_config.json",
    ]


def test_a_run_gives_its_last_model(checkpoint, tmp_path):
    checkpoints.save(tmp_path / "last", checkpoint)
    assert checkpoints.load(tmp_path).name == "small"


def test_a_missing_key_is_named(folder):
    change_weights(folder, lambda state: state.pop("layers.1.mixer.D"))
    with pytest.raises(CheckpointError, match=r"does not fit AuM: layers\.1\.mixer\.D is missing"):
        checkpoints.load(folder)


def test_an_unknown_key_is_named(folder):
    change_weights(folder, lambda state: state.update(extra=torch.zeros(1)))
    with pytest.raises(CheckpointError, match="extra is unknown"):
        checkpoints.load(folder)


def test_a_wrong_shape_is_named(folder):
    change_weights(folder, lambda state: state.update({"head.bias": torch.zeros(3)}))
    with pytest.raises(CheckpointError, match=r"head.bias is \(3,\), expected \(2,\)"):
        checkpoints.load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2; this version reads 1"),
        ({"family": "aun"}, "unknown model family 'aun'; did you mean aum"),
        ({"scores": "tanh"}, "expected 'sigmoid' or 'softmax'"),
        ({"labels": ["only one"]}, "1 labels for 2 classes"),
        ({"model": {"dimm": 3}}, "did you mean dim"),
        ({"model": {"dim": "wide"}}, "dim is 'wide'; expected a whole number of at least 1"),
        ({"front_end": {"n_mels": 64}}, "the front end makes 64 mel bands"),
    ],
)
def test_bad_settings_are_named(folder, changes, message):
    change_config(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        checkpoints.load(folder)


def test_a_missing_entry_is_named(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    del config["labels"]
    path.write_text(json.dumps(config), "utf-8")
    with pytest.raises(CheckpointError, match="'labels' is missing"):
        checkpoints.load(folder)


@pytest.mark.parametrize("content", ["", "[]", "{", "\x00"])
def test_a_damaged_config_is_one_line(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json") as caught:
        checkpoints.load(folder)
    assert "\n" not in str(caught.value)


def test_truncated_weights_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged or not safetensors"):
        checkpoints.load(folder)


def test_a_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json in it"):
        checkpoints.load(tmp_path)


def test_names_that_are_neither_offer_near_ones(monkeypatch):
    monkeypatch.setattr("audiomamba.checkpoints.lookup.packaged", lambda: ["general"])
    with pytest.raises(UnknownNameError, match="'generl'; did you mean general"):
        checkpoints.find("generl")


def test_a_model_that_no_longer_ships_says_what_to_use(tmp_path, monkeypatch):
    with pytest.raises(
        ConfigError, match="'starter' is no longer part of audiomamba; use 'general'"
    ):
        checkpoints.find("starter")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "starter").mkdir()
    assert checkpoints.find("starter").is_dir()  # a folder of one's own may have the name


class Malicious:
    def __reduce__(self):
        return exec, ("raise SystemExit('code was run')",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"head.weight": Malicious()}, path)
    with pytest.raises(CheckpointError, match="refused, because it is no plain file of tensors"):
        read_state(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04broken"])
def test_what_torch_did_not_write_is_refused(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="weights") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)


def test_what_is_not_tensors_is_refused(tmp_path):
    for content, message in (([1], "holds list"), ({"a": "b"}, "'a' is str"), ({}, "holds dict")):
        torch.save(content, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match=message):
            read_state(tmp_path / "x.pth")


def test_a_front_end_of_an_older_version_is_kaldis(checkpoint, folder):
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    del config["front_end"]["kind"]
    path.write_text(json.dumps(config), "utf-8")
    assert checkpoints.load(folder).front_end == checkpoint.front_end
