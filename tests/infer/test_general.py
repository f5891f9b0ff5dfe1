"""The model of everyday sounds that ships, on the recordings that ship."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import audiomamba
from audiomamba import checkpoints
from audiomamba.data.labels import label_list
from audiomamba.infer import Framing, Tagger
from audiomamba.ops import native

RECORDINGS = Path(__file__).parents[2] / "demo" / "recordings"
# For each recording the labels that name its kind, or the kind of thing that makes it.
RIGHT = {
    "bell": {"Bell", "Church bell", "Gong", "Singing bowl"},
    "blackbird": {"Bird", "Bird vocalization, bird call, bird song", "Chirp, tweet"},
    "campfire": {"Fire", "Crackle"},
    "cat": {"Cat", "Meow"},
    "chainsaw": {"Chainsaw", "Light engine (high frequency)", "Engine", "Idling"},
    "clock_tick": {"Tick", "Tick-tock", "Clock"},
    "cow": {"Moo", "Cattle, bovinae", "Livestock, farm animals, working animals"},
    "crackling_fire": {"Fire", "Crackle"},
    "crying_baby": {"Baby cry, infant cry", "Crying, sobbing"},
    "dog": {"Dog", "Bark", "Bow-wow"},
    "guitar": {"Guitar", "Musical instrument", "Plucked string instrument"},
    "helicopter": {"Helicopter", "Aircraft"},
    "rain": {"Rain", "Rain on surface", "Raindrop"},
    "rooster": {"Crowing, cock-a-doodle-doo", "Chicken, rooster", "Fowl"},
    "sea_waves": {"Waves, surf", "Ocean"},
    "sneezing": {"Sneeze"},
    "speech": {"Speech", "Female speech, woman speaking"},
    "steam_train": {"Train", "Rail transport", "Steam"},
    "typing": {"Typing", "Computer keyboard", "Typewriter"},
    "vacuum_cleaner": {"Vacuum cleaner"},
}


@pytest.fixture(scope="module")
def general() -> Tagger:
    return audiomamba.load("general")


def test_it_is_small_and_kept_in_half_precision() -> None:
    weights = checkpoints.find("general") / "model.safetensors"

    assert weights.stat().st_size < 15e6
    with safe_open(weights, "pt") as file:
        dtypes = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    assert {str(dtype) for dtype in dtypes if dtype.is_floating_point} == {"torch.float16"}


def test_it_has_audiosets_labels_and_shows_those_it_is_good_at(general: Tagger) -> None:
    loaded = checkpoints.load(checkpoints.find("general"))

    assert loaded.labels == label_list("audioset").names
    assert set(general.labels) == set(loaded.labels) - set(loaded.hidden)
    assert general.thresholds.keys() == set(general.labels)


def test_the_first_clip_does_not_wait_for_pytorchs_compiler_or_symbolic_algebra() -> None:
    if native.problem() is not None:
        pytest.skip("needs the compiled library")
    script = (
        "import sys, audiomamba\n"
        f"assert audiomamba.load('general').tag({str(RECORDINGS / 'dog.ogg')!r})\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "assert 'sympy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_it_names_the_kind_of_most_recordings_among_its_first_three(general: Tagger) -> None:
    files = {file.stem: file for file in sorted(RECORDINGS.iterdir()) if file.stem in RIGHT}
    assert files.keys() == RIGHT.keys()

    right = [
        name
        for name, file in files.items()
        if RIGHT[name] & {tag.label for tag in general.tag(file)[:3]}
    ]

    assert len(right) >= 12, f"right only about {right}"


def test_a_bark_stays_a_dogs_at_other_rates_and_levels(general: Tagger) -> None:
    samples = general.read(RECORDINGS / "dog.ogg")
    rate = general.front_end.sample_rate

    for changed in (0.5 * samples, -samples, samples[::2].repeat_interleave(2)):
        first = {tag.label for tag in general.tag((changed, rate))[:3]}
        assert first & RIGHT["dog"]


def test_a_timeline_tells_when_sounds_of_a_mixture_are_heard(general: Tagger) -> None:
    mixed = runpy.run_path(str(RECORDINGS.parent / "mix.py"))["mix"](RECORDINGS)
    line = general.timeline((mixed.numpy(), 32_000))
    named = general.timeline((mixed.numpy(), 32_000), Framing(window_s=2.0))
    assert torch.equal(line.scores, named.scores), "2 s are what it reads unless told otherwise"

    for label, start_s, end_s in (
        ("Chicken, rooster", 1.0, 2.5),
        ("Moo", 5.0, 9.0),
        ("Tick", 17.0, 24.0),
        ("Speech", 28.0, 33.0),
        ("Meow", 48.0, 49.0),
    ):
        scores = line.scores[:, line.labels.index(label)]
        at_s = float(scores.argmax()) * Framing().step_s
        assert start_s - 0.5 < at_s < end_s + 0.5, label
        assert scores.max() > 0.25, label
