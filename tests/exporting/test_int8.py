"""Int8 weights: smaller, about as accurate, and not kept where they are not."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
from exporting_models import RECORDINGS, Small

from audiomamba.errors import ConfigError
from audiomamba.exporting.int8 import CheckClips, quantize, use_int8
from audiomamba.exporting.onnx_file import check_graph

MODEL = "model.onnx"


def test_a_quantized_graph_is_plain_and_says_about_the_same(small: Small, tmp_path: Path) -> None:
    file = small.exported.folder / MODEL
    quantize(file, tmp_path / MODEL)

    assert check_graph(tmp_path / MODEL, largest_weight=60_000)[0] <= 21
    weights = [one for one in onnx.load(tmp_path / MODEL).graph.initializer if one.data_type == 3]
    head = [one.name for one in weights if tuple(one.dims) == (16, 3)]
    assert len(head) == 1  # that of clips and of steps is one
    samples = soundfile.read(RECORDINGS / "speech.wav", dtype="float32")[0][None]
    before, after = (
        onnxruntime.InferenceSession(it).run(["scores"], {"waveform": samples})[0]
        for it in (file, tmp_path / MODEL)
    )
    assert 0 < np.abs(after - before).max() < 0.05


def test_int8_that_loses_too_much_is_refused(small: Small, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    folder.mkdir()
    for file in small.exported.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    for label, recording in (("bell", "bell.wav"), ("dog", "speech.wav")):
        (tmp_path / "clips" / label).mkdir(parents=True)
        clip = tmp_path / "clips" / label / recording
        clip.write_bytes((RECORDINGS / recording).read_bytes())
    clips = CheckClips(tmp_path / "clips")
    before = (folder / MODEL).read_bytes()
    with pytest.raises(ConfigError, match=r"a loss of more than -1; nothing was written"):
        use_int8(
            folder, MODEL, CheckClips(tmp_path / "clips"), max_loss=-1.0
        )  # any accuracy is too low
    assert (folder / MODEL).read_bytes() == before

    found = use_int8(folder, MODEL, clips, max_loss=1.0)
    assert found.metric == "accuracy"
    assert found.n_clips == 2
    assert (folder / MODEL).read_bytes() != before
    assert not (tmp_path / "exported.int8").exists()
