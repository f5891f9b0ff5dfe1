"""A tagger of an exported folder says what the tagger of the model says."""

import json
from pathlib import Path

import pytest
import torch
from command_line import run
from exporting_models import RECORDINGS, Small

import audiomamba
from audiomamba import checkpoints
from audiomamba.errors import CheckpointError, ConfigError
from audiomamba.infer import Framing

RECORDING = RECORDINGS / "speech.wav"


def test_tags_moments_and_embeddings_are_the_same(small: Small) -> None:
    origin, exported = audiomamba.load(small.folder), audiomamba.load(small.exported.folder)

    assert exported.labels == origin.labels == ("bell", "dog")
    assert exported.thresholds == origin.thresholds
    for mode in ("windows", "native"):
        found = exported.tag(RECORDING, mode=mode)
        for tag, wanted in zip(found, origin.tag(RECORDING, mode=mode), strict=True):
            assert tag.label == wanted.label
            assert tag.heard == wanted.heard
            assert tag.score == pytest.approx(wanted.score, abs=1e-5)
        framing = Framing(mode=mode, step_s=0.25)
        moments, wanted_moments = (it.timeline(RECORDING, framing) for it in (exported, origin))
        torch.testing.assert_close(moments.scores, wanted_moments.scores, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        exported.embed(RECORDING), origin.embed(RECORDING), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("command", [["tag"], ["timeline"]])
def test_commands_take_an_exported_folder(command: list[str], small: Small, tmp_path: Path) -> None:
    outputs = []
    for folder in (small.folder, small.exported.folder):
        result = run(*command, RECORDING, RECORDINGS / "dog.ogg", "--model", folder)
        assert result.exit_code == 0, result.output
        outputs.append(result.stdout)
    assert outputs[0] == outputs[1]
    out = tmp_path / "embedded.npy"
    result = run("embed", RECORDING, "--model", small.exported.folder, "--out", out)
    assert result.exit_code == 0, result.output
    assert checkpoints.fingerprint(small.exported.folder) in out.with_suffix(".json").read_text()


def test_a_damaged_folder_is_refused_in_one_line(small: Small, tmp_path: Path) -> None:
    labels = json.loads((small.exported.folder / "labels.json").read_text("utf-8"))
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(CheckpointError, match=r"not a graph that ONNX Runtime reads"):
        audiomamba.load(tmp_path)
    for field, value, error, said in (
        ("format", 99, CheckpointError, "this version reads 1"),
        ("input", "features", ConfigError, "the graph reads features"),
        ("front_end", {"kind": 3}, CheckpointError, "labels.json"),
    ):
        (tmp_path / "labels.json").write_text(json.dumps({**labels, field: value}))
        with pytest.raises(error, match=said):
            audiomamba.load(tmp_path)
    del labels["sample_rate"], labels["any_length"]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(CheckpointError, match="'any_length' is missing"):
        audiomamba.load(tmp_path)


def test_another_device_is_refused(small: Small) -> None:
    tagger = audiomamba.load(small.exported.folder)
    assert tagger.to("cpu") is tagger
    with pytest.raises(ConfigError):
        tagger.to("cuda")
