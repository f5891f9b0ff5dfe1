"""`audiomamba convert`."""

import json
import os
import pickle
import re
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import LABELS, run

from audiomamba import models


class _Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("save", ["torch", "pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(save: str, tmp_path: Path) -> None:
    proof, file = tmp_path / "it-ran", tmp_path / "evil.pth"
    content = {"head.weight": torch.zeros(2, 2), "payload": _Malicious(proof)}
    if save == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content, protocol=2))

    result = run("convert", file, tmp_path / "out")

    assert result.exit_code == 2
    assert not proof.exists()
    assert not (tmp_path / "out").exists()
    (line,) = result.stderr.splitlines()
    assert str(file) in line


def test_convert_turns_released_weights_into_a_model_that_tags(good: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = models.create("aum_tiny", n_classes=3, n_frames=32, depth=1, dim=32)
    state = {
        "module." + ("pos_embed.pos_embed" if key == "pos_embed" else key): value
        for key, value in model.state_dict().items()
    }
    torch.save(state, tmp_path / "audio_model.pth")
    (tmp_path / "labels.csv").write_text("index,display_name\n0,bell\n1,dog\n2,rain\n")

    done = run(
        "convert",
        tmp_path / "audio_model.pth",
        tmp_path / "out",
        "--labels",
        tmp_path / "labels.csv",
    )
    tagged = run("tag", good, "--model", tmp_path / "out", "--json")

    assert done.exit_code == 0, done.stderr
    assert "AuM, 3 classes" in done.stdout
    assert re.search(r"^direction +fo-bi$", done.stdout, re.MULTILINE)
    assert {tag["label"] for tag in json.loads(tagged.stdout)["tags"]} == set(LABELS)


def test_convert_wants_a_column_of_labels(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("a,b\n0,1\n")

    result = run("convert", tmp_path / "x.pth", tmp_path, "--labels", tmp_path / "labels.csv")

    assert result.exit_code == 2
    assert "no column label or display_name" in result.stderr


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """Weights of a small AuM as its authors released it."""
    torch.manual_seed(0)
    model = models.create("aum_tiny", n_classes=3, n_frames=32, depth=1, dim=32)
    state = {
        "module." + ("pos_embed.pos_embed" if key == "pos_embed" else key): value
        for key, value in model.state_dict().items()
    }
    torch.save(state, tmp_path / "released.pth")
    return tmp_path / "released.pth"


def test_a_model_is_not_overwritten_unasked(released: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("convert", released, out).exit_code == 0
    before = {path: path.read_bytes() for path in out.iterdir()}

    again = run("convert", released, out)
    onto_itself = run("convert", out / "model.safetensors", out, "--overwrite")
    asked = run("convert", released, out, "--overwrite")
    onto_a_file = run("convert", released, released)
    beside = run("convert", released, tmp_path)

    assert again.exit_code == onto_itself.exit_code == onto_a_file.exit_code == 2
    assert "holds a model already" in again.stderr
    assert "this call reads it" in onto_itself.stderr
    assert "this call reads it" in onto_a_file.stderr
    assert asked.exit_code == beside.exit_code == 0
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_conversion_onto_a_full_disk_is_one_line_and_leaves_nothing(
    released: Path, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        full = run("convert", released, tmp_path / "new" / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert full.exit_code == 2
    assert "cannot be written: file too large" in full.stderr
    assert len(full.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()
