"""Models by name, folder and file."""

from pathlib import Path

import pytest
import torch

import audiomamba
from audiomamba import checkpoints, hub
from audiomamba.errors import CheckpointError, UnknownNameError


def test_a_released_file_is_a_model_and_is_converted_once(aum_file: Path) -> None:
    tagger = audiomamba.load(aum_file)

    folder = checkpoints.find(str(aum_file))
    written = (folder / "config.json").stat().st_mtime_ns
    assert folder.parent == hub.cache_folder() / "models"
    assert folder == checkpoints.find(aum_file)
    assert (folder / "config.json").stat().st_mtime_ns == written
    assert len(tagger.labels) == 35
    notes = checkpoints.load(folder).notes
    assert (notes["file"], len(str(notes["sha256"]))) == ("aum-small.pth", 64)


def test_another_file_of_the_same_name_is_another_model(aum_file: Path) -> None:
    first = checkpoints.find(aum_file)
    state = torch.load(aum_file, weights_only=True)
    state["module.head.bias"] += 1
    torch.save(state, aum_file)

    second = checkpoints.find(aum_file)

    assert second != first
    biases = [checkpoints.load(it).model.state_dict()["head.bias"] for it in (first, second)]
    assert torch.allclose(biases[0] + 1, biases[1])


def test_what_cannot_be_converted_leaves_nothing_behind(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pth"
    torch.save({"a": torch.zeros(1)}, bad)

    with pytest.raises(CheckpointError, match="not the weights of a known model"):
        checkpoints.find(bad)

    assert not list(hub.cache_folder().glob("models/*bad*"))
    assert not list(hub.cache_folder().glob("models/.part*"))


def test_weights_that_a_page_links_have_to_be_fetched_by_hand() -> None:
    with pytest.raises(CheckpointError, match=r"aum_base_audioset is linked on https://github"):
        audiomamba.load("aum_base_audioset")


def test_an_unknown_name_offers_the_nearest_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean dass_medium_audioset"):
        audiomamba.load("dass_medium_audiosett")


def test_models_are_told_from_other_names(aum_file: Path) -> None:
    for text in ("general", "dass_small_audioset", "hf:org/name", str(aum_file), aum_file.parent):
        assert checkpoints.is_model(text)
    for text in ("dass_small", "nothing", str(aum_file) + ".txt"):
        assert not checkpoints.is_model(text)
