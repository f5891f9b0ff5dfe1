"""The model that ships, on the recordings that ship."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import audiomamba
from audiomamba import checkpoints
from audiomamba.infer import Tagger
from audiomamba.ops import native

RECORDINGS = Path(__file__).parents[2] / "demo" / "recordings"
KINDS = {
    "dog",
    "rooster",
    "rain",
    "sea_waves",
    "crackling_fire",
    "crying_baby",
    "sneezing",
    "clock_tick",
    "helicopter",
    "chainsaw",
}


@pytest.fixture(scope="module")
def starter() -> Tagger:
    return audiomamba.load("starter")


def test_it_is_small_and_kept_in_half_precision() -> None:
    weights = checkpoints.find("starter") / "model.safetensors"

    assert weights.stat().st_size < 15e6
    with safe_open(weights, "pt") as file:
        dtypes = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    assert {dtype for dtype in dtypes if dtype.is_floating_point} == {torch.float16}


def test_it_knows_ten_kinds_of_sound(starter: Tagger) -> None:
    assert set(starter.labels) == KINDS


def test_the_first_clip_does_not_wait_for_pytorchs_compiler() -> None:
    if native.problem() is not None:
        pytest.skip("needs the compiled library")
    script = (
        "import sys, audiomamba\n"
        f"assert audiomamba.load('starter').tag({str(RECORDINGS / 'dog.ogg')!r})\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_it_is_right_about_most_recordings_of_its_kinds(starter: Tagger) -> None:
    files = [file for file in sorted(RECORDINGS.iterdir()) if file.stem in KINDS]
    assert len(files) == len(KINDS)

    right = [file.stem for file in files if starter.tag(file)[0].label == file.stem]

    assert len(right) >= 6, f"right only about {right}"


def test_a_bark_stays_a_bark_at_other_rates_and_levels(starter: Tagger) -> None:
    samples = starter.read(RECORDINGS / "dog.ogg")
    rate = starter.front_end.sample_rate

    for changed in (0.5 * samples, -samples, samples[::2].repeat_interleave(2)):
        assert starter.tag((changed, rate))[0].label == "dog"
