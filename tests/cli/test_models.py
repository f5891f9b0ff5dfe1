"""`audiomamba models`."""

import re
from pathlib import Path

import pytest
from command_line import run

from audiomamba import checkpoints, models


@pytest.fixture(scope="module")
def listing() -> list[str]:
    """What `audiomamba models` prints."""
    return run("models").stdout.splitlines()


def test_models_lists_what_ships_what_was_released_and_what_can_be_trained() -> None:
    result = run("models")

    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    for name in (*checkpoints.packaged(), *models.names()):
        assert f"  {name} " in result.stdout
    for released in checkpoints.RELEASED:
        (line,) = [
            line for line in result.stdout.splitlines() if line.startswith(f"  {released.name} ")
        ]
        assert released.score is None or f" {released.metric} {released.score:.2f} " in line


def test_models_lists_released_weights_by_pattern() -> None:
    result = run("models", "dass_medium*", "--released")

    assert result.exit_code == 0
    names = [line.split()[0] for line in result.stdout.splitlines()[3:]]
    assert names == [f"dass_medium_audioset{end}" for end in ("", "_v2", "_v1")]


def test_models_knows_released_weights_without_fetching_them() -> None:
    result = run("models", "dass_medium_audioset")

    assert result.exit_code == 0
    assert "sha256      unverified" in result.stdout
    assert "https://huggingface.co/saurabhati/DASS_medium_AudioSet_50.2" in result.stdout
    assert "model dass_medium" in result.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("aum_base", "92.11 M 47.38 G 128x1024 BSD-3-Clause"),
        ("conv_aum_tiny", "1.56 M 1.49 G 128x1024 -"),
        ("deit_small", "22.05 M 4.61 G 224x224 Apache-2.0"),
        ("mambaout_tiny", "25.45 M 11.68 G 128x1024 -"),
        ("mambaout_tiny_224", "26.55 M 4.49 G 224x224 Apache-2.0"),
    ],
)
def test_models_lists_size_work_input_and_licence(
    listing: list[str], name: str, figures: str
) -> None:
    (line,) = [line for line in listing if line.startswith(f"  {name} ") and " G " in line]

    assert line.split() == [name, *figures.split()]


def test_every_origin_of_weights_has_a_model_in_the_list() -> None:
    origins = {origin.name: origin.license for origin in checkpoints.ORIGINS}

    named = {config.weights_from for config in models.MODELS.values()} - {None}

    assert named <= set(origins)
    assert {origins[name] for name in named} == set(origins.values()) - {"unknown"}


def test_models_tells_all_about_one(model_folder: Path) -> None:
    result = run("models", model_folder)

    assert result.exit_code == 0
    assert "bell, dog, rain" in result.stdout
    assert "sample_rate" in result.stdout
    assert re.search(r"^  head +1x3 +99 +96$", result.stdout, re.MULTILINE)


def test_models_shows_the_layers_of_one_that_has_no_weights() -> None:
    result = run("models", "aum_small")

    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["direction", "fo-bi"] in lines
    assert ["patch_embed", "1x384x8x64", "98,688", "50,331,648"] in lines
    assert any(line[:4] == ["layers.0-23", "(24", "x)", "1x513x384"] for line in lines)
    assert ["all", "23,935,631"] in [line[:2] for line in lines]
    assert ["513", "2304", "short"] in lines


def test_models_offers_names_near_an_unknown_one() -> None:
    result = run("models", "aum_smal")

    assert result.exit_code == 2
    assert "did you mean aum_small" in result.stderr
