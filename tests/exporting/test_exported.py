"""A folder that runs without PyTorch: what is in it, and that it says what the model says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exporting_models import RECORDINGS, Small, small_checkpoint

import audiomamba
from audiomamba import checkpoints, models
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import Checkpoint
from audiomamba.errors import ConfigError, MissingDependencyError
from audiomamba.exporting import exported
from audiomamba.exporting.onnx_file import check_graph
from audiomamba.infer.frame_scores import _step_scores
from audiomamba.infer.sound_model import SoundModel
from audiomamba.outputs import sole_writer


@pytest.fixture(scope="module")
def session(small: Small) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(small.exported.folder / "model.onnx")


def outputs(session: onnxruntime.InferenceSession, waveforms: torch.Tensor) -> dict[str, Any]:
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {"waveform": waveforms.numpy()})
    return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}


@pytest.mark.parametrize("seconds", [0.01, 0.3, 5.0, 60.0])
@pytest.mark.parametrize("n", [1, 3])
def test_every_output_is_what_the_model_says_at_any_length_and_batch(
    seconds: float, n: int, small: Small, session: onnxruntime.InferenceSession
) -> None:
    sound_model = SoundModel(small.checkpoint)
    sound = sound_model.read(RECORDINGS / "speech.wav").repeat(200)
    waveforms = sound[: n * int(seconds * 16_000)].reshape(n, -1)
    found = outputs(session, waveforms)

    shortest = max(waveforms.shape[1], 400)  # a frame, to which shorter sound is padded
    padded = torch.nn.functional.pad(waveforms, (0, shortest - waveforms.shape[1]))
    with torch.inference_mode():
        features = torch.cat([sound_model.one_pass_inputs(one) for one in padded])
        embedding = sound_model.model.embed(features)
        wanted = {
            "scores": sound_model.score_features(features),
            "embedding": embedding,
            "in_distribution": small.checkpoint.ood_detector(embedding),  # type: ignore[misc]
            "frame_scores": _step_scores(sound_model, features, None),
            "frame_embeddings": sound_model.model.frame_embeddings(features),
        }
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5, msg=name)


TABLE = 200 * 255  # of the Fourier transform, larger than any weight of the small model


def test_a_constant_that_is_larger_than_any_weight_is_refused(small: Small) -> None:
    with pytest.raises(ConfigError, match="a constant of 51000 numbers"):
        check_graph(small.exported.folder / "model.onnx", TABLE - 1)


def test_the_graph_is_plain_and_small(small: Small) -> None:
    file = small.exported.folder / "model.onnx"
    graph = onnx.load(file).graph
    opset, n_nodes = check_graph(file, TABLE)

    assert opset <= 21
    assert n_nodes == small.exported.n_nodes
    assert [node.op_type for node in graph.node].count("Scan") == 1  # for two directions
    assert [axis.dim_param for axis in graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        "samples",
    ]
    n_weights = sum(weight.numel() for weight in small.checkpoint.model.state_dict().values())
    tables = sum(
        np.prod(one.dims) for one in graph.initializer if one.name.startswith("front_end.")
    )
    assert file.stat().st_size < 1.15 * 4 * (n_weights + tables) + 100_000


def test_the_labels_tell_what_has_to_be_known(small: Small) -> None:
    told = json.loads((small.exported.folder / "labels.json").read_text("utf-8"))

    assert told["labels"] == ["bell", "dog", "rain"]
    assert told["thresholds"] == [0.1, 0.2, 0.3]
    assert told["hidden"] == ["rain"]
    assert told["sample_rate"] == 16_000
    assert told["license"] == "Apache-2.0"
    assert told["source"] == checkpoints.fingerprint(small.folder)
    assert told["opset"] == small.exported.opset


def test_the_script_tags_without_pytorch(small: Small, tmp_path: Path) -> None:
    script = small.exported.folder / "tag.py"
    assert len(script.read_text("utf-8").splitlines()) <= 40
    for name in ("torch", "audiomamba"):  # importing either ends the script
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    recording = RECORDINGS / "dog.ogg"
    command = [sys.executable, script, recording, RECORDINGS / "speech.wav"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(tmp_path)}
    )
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{recording}\t")

    tagger = audiomamba.load(small.folder)
    tags = {tag.label: tag.score for tag in tagger.tag(RECORDINGS / "speech.wav")}
    shown = dict(one.rsplit(" ", 1) for one in second.split("\t")[1:])
    assert shown.keys() == tags.keys()  # not the hidden one
    for label, score in tags.items():
        assert float(shown[label]) == pytest.approx(score, abs=0.02)  # another resampler


def test_nothing_is_overwritten_unasked(small: Small) -> None:
    with pytest.raises(ConfigError, match="is there already"):
        audiomamba.export(small.folder, small.exported.folder)


def test_overwriting_replaces_an_exported_folder_and_nothing_else(
    small: Small, tmp_path: Path
) -> None:
    (tmp_path / "holiday.txt").write_text("precious")
    with pytest.raises(ConfigError, match=r"holds other things \(holiday\.txt\)"):
        audiomamba.export(small.folder, tmp_path, overwrite=True)
    with pytest.raises(ConfigError, match="would be overwritten, and this call reads it"):
        audiomamba.export(small.folder, small.folder, overwrite=True)
    with pytest.raises(ConfigError, match="is a file"):
        audiomamba.export(small.folder, tmp_path / "holiday.txt", overwrite=True)
    with (
        sole_writer(tmp_path / "new"),
        pytest.raises(ConfigError, match="is being written by another call"),
    ):
        audiomamba.export(small.folder, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]
    assert audiomamba.load(small.folder)


@pytest.fixture
def fixed() -> Checkpoint:
    """An untrained model of 0.335 s, to which shorter sound is padded."""
    model = models.create("aum_tiny", n_classes=2, n_frames=32, n_mels=32, depth=1, dim=16)
    front_end = FrontEnd(n_frames=32, n_mels=32)
    return Checkpoint(
        name="fixed", model=model, front_end=front_end, labels=("a", "b"), scores="sigmoid"
    )


def test_a_model_of_fixed_length_is_refused_for_any(fixed: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fixed \(aum\) reads a fixed number .* up to 0.335 s"):
        audiomamba.export(fixed, tmp_path / "out", length="any")
    with pytest.raises(ConfigError, match=r"at least 0\.025 s"):
        audiomamba.export(fixed, tmp_path / "out", length=0.001)
    assert not list(tmp_path.iterdir())


def test_a_runtime_says_that_sound_is_too_long(fixed: Checkpoint, tmp_path: Path) -> None:
    audiomamba.export(fixed, tmp_path / "out")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    outputs(session, torch.zeros(1, 5_000))
    with pytest.raises(Exception, match=r"'sound_is_longer_than_0\.335_s'"):
        outputs(session, torch.zeros(1, 5_600))


def test_a_graph_that_differs_is_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.create("cnn_small", n_classes=2, n_frames=32, n_mels=32, widths=(4, 4, 4, 8))
    front_end = FrontEnd(n_frames=32, n_mels=32)
    checkpoint = Checkpoint(
        name="cnn", model=model, front_end=front_end, labels=("a", "b"), scores="sigmoid"
    )
    translate = exported.to_onnx

    def translate_wrongly(program: Any, axes: Any, file: Path, **more: Any) -> Any:
        made = translate(program, axes, file, **more)
        graph = onnx.load(file)
        weight = next(one for one in graph.graph.initializer if one.name == "model.head.weight")
        weight.raw_data = np.full(weight.dims, 3.0, dtype=np.float32).tobytes()
        onnx.save(graph, file)
        return made

    monkeypatch.setattr(exported, "to_onnx", translate_wrongly)
    steps: list[str] = []
    with pytest.raises(ConfigError, match=r"exported cnn differ .*first at linear.*\(model.head\)"):
        audiomamba.export(checkpoint, tmp_path / "out", features_in=True, on_step=steps.append)
    assert len(steps) == 3
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"needs onnx, .*audiomamba\[export\]"):
        audiomamba.export(small_checkpoint(), tmp_path / "out")
