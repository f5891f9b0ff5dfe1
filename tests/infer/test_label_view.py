"""Labels that are shown: all, the trusted ones, some by name, the kinds above them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import audiomamba
from audiomamba import checkpoints
from audiomamba.errors import CheckpointError, ConfigError, UnknownNameError
from audiomamba.infer.label_view import label_view

PARENTS = {
    "bell": ("alarms", "things"),
    "dog": ("pets",),
    "pets": ("animals",),
    "alarms": ("things",),
    "rain": (),
}
THRESHOLDS = (0.2, 0.3, 0.4)
SOUND = (torch.randn(16_000, generator=torch.Generator().manual_seed(0)) * 0.1, 16_000)


@pytest.fixture(scope="module")
def folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model of bell, dog and rain, with an ontology, and bell not to be trusted."""
    known = checkpoints.load(model_folder)
    changed = replace(known, hidden=("bell",), parents=PARENTS, thresholds=THRESHOLDS)
    path = tmp_path_factory.mktemp("labels") / "tiny"
    checkpoints.save(path, changed)
    return path


def scores_of(tagger: audiomamba.Tagger) -> dict[str, float]:
    return dict(zip(tagger.labels, tagger.scores(SOUND).tolist(), strict=True))


def test_a_folder_keeps_ontology_and_hidden_labels(folder: Path) -> None:
    loaded = checkpoints.load(folder)

    assert loaded.hidden == ("bell",)
    assert loaded.parents == PARENTS


def test_hidden_labels_are_shown_when_asked_for(folder: Path) -> None:
    every = scores_of(audiomamba.load(folder, all_labels=True))
    trusted = scores_of(audiomamba.load(folder))
    named = scores_of(audiomamba.load(folder, labels=["rain", "bell"]))

    assert list(every) == ["bell", "dog", "rain"]
    assert trusted == {name: every[name] for name in ("dog", "rain")}
    assert named == {name: every[name] for name in ("bell", "rain")}


def test_thresholds_follow_the_labels(folder: Path) -> None:
    assert audiomamba.load(folder).thresholds == {"dog": 0.3, "rain": 0.4}
    assert audiomamba.load(folder, all_labels=True, level=1).thresholds == {}


def test_a_kind_scores_as_the_highest_of_its_labels(folder: Path) -> None:
    every = scores_of(audiomamba.load(folder, all_labels=True))

    roots = scores_of(audiomamba.load(folder, level=1, all_labels=True))
    second = scores_of(audiomamba.load(folder, level=2, all_labels=True))

    assert roots == {"things": every["bell"], "animals": every["dog"], "rain": every["rain"]}
    # Of bell's two ways up one is two steps long: there the label itself stands at level 2.
    assert second == {
        "alarms": every["bell"],
        "bell": every["bell"],
        "pets": every["dog"],
        "rain": every["rain"],
    }


def test_a_kind_with_several_labels_takes_the_highest_in_timelines_too(folder: Path) -> None:
    known = checkpoints.load(folder)
    parents = {"bell": ("sound",), "dog": ("sound",), "rain": ("sound",)}
    changed = replace(known, hidden=(), parents=parents)

    view = label_view(changed, level=1)
    every = audiomamba.Tagger(changed).timeline(SOUND).scores
    kinds = audiomamba.Tagger(changed, view).timeline(SOUND).scores

    assert view.labels == ("sound",)
    assert kinds.shape[1] == 1
    # Frames are blends of overlapping windows: at least the highest of what each label blends to.
    assert (kinds[:, 0] >= every.amax(1) - 1e-6).all()


@pytest.mark.parametrize(
    ("choice", "error"),
    [
        ({"labels": ["cat"]}, UnknownNameError),
        ({"labels": []}, ConfigError),
        ({"level": 0}, ConfigError),
    ],
)
def test_a_choice_that_fits_nothing_is_refused(
    folder: Path, choice: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        audiomamba.load(folder, **choice)  # type: ignore[arg-type]


def test_a_level_needs_an_ontology(model_folder: Path) -> None:
    with pytest.raises(ConfigError, match="tiny has no ontology"):
        audiomamba.load(model_folder, level=1)


def test_a_circle_in_the_ontology_is_refused(model_folder: Path) -> None:
    known = checkpoints.load(model_folder)

    with pytest.raises(CheckpointError, match="stands above itself"):
        replace(known, parents={"dog": ("pets",), "pets": ("dog",)})


def test_a_hidden_label_is_one_of_the_labels(model_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="'cat' is hidden"):
        replace(checkpoints.load(model_folder), hidden=("cat",))
