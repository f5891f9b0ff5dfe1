"""A package of compiled code, run by the C++ example with the library that PyTorch brings."""

import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile
import torch
from exporting_models import RECORDINGS, small_checkpoint
from torch.utils import cmake_prefix_path

import audiomamba
from audiomamba.errors import ConfigError
from audiomamba.exporting import package
from audiomamba.infer import SoundModel

EXAMPLE = Path(__file__).parents[2] / "examples" / "cpp"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_example_says_what_the_model_says(tmp_path: Path) -> None:
    if not (shutil.which("g++") and shutil.which("cmake")):
        pytest.skip("needs g++ and cmake")
    checkpoint = small_checkpoint()
    done = audiomamba.export(checkpoint, tmp_path / "exported", format="pt2")
    assert done.agreement.largest_difference <= 1e-5
    assert {file.name for file in done.folder.iterdir()} == {"model.pt2", "labels.json"}

    build = ["-S", EXAMPLE, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={cmake_prefix_path}"]
    subprocess.run(["cmake", *build], check=True)
    subprocess.run(["cmake", "--build", tmp_path / "build"], check=True)
    sound_model = SoundModel(checkpoint)
    sound = sound_model.read(RECORDINGS / "speech.wav")
    soundfile.write(tmp_path / "speech.wav", sound.numpy(), 16_000, subtype="PCM_16")
    command = [tmp_path / "build" / "tag", done.folder, tmp_path / "speech.wav"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)

    samples = torch.from_numpy(soundfile.read(tmp_path / "speech.wav", dtype="float32")[0])
    with torch.inference_mode():
        wanted = sound_model.score_features(sound_model.one_pass_inputs(samples))[0]
    shown = dict(line.rsplit(" ", 1) for line in said.stdout.splitlines())
    assert shown.keys() == set(checkpoint.labels)
    for label, score in zip(checkpoint.labels, wanted.tolist(), strict=True):
        assert float(shown[label]) == pytest.approx(score, abs=1e-5)


def test_what_a_package_cannot_have_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="int8 is for the format onnx"):
        audiomamba.export(small_checkpoint(), tmp_path / "out", format="pt2", int8_check=tmp_path)
    monkeypatch.setattr(package.shutil, "which", lambda _: None)
    monkeypatch.setenv("CXX", "clang++")
    with pytest.raises(ConfigError, match=r"pt2 needs a C\+\+ compiler, and there is no clang"):
        audiomamba.export(small_checkpoint(), tmp_path / "out", format="pt2")
    assert not list(tmp_path.iterdir())
