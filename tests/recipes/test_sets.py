import pytest
import torch

from audiomamba import models, recipes
from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.recipes import STARTS, sets

N_CELLS = {"aum/table-ii": 9, "aum/table-v": 4, "audiomamba/table-2": 5, "vim/table-4": 4}
SMALL = {
    "aum/table-ii": "esc10/aum-tiny",
    "aum/table-v": "esc10/aum-tiny",
    "audiomamba/table-2": "esc10/audiomamba-nano",
    "vim/table-4": "esc10/vim-tiny",
}


def test_the_sets_are_these():
    assert {name: len(sets.get_set(name).cells) for name in sets.set_names()} == N_CELLS


@pytest.mark.parametrize("name", N_CELLS)
def test_a_set_has_the_papers_figures_in_all_columns(name):
    chosen = sets.get_set(name)
    assert chosen.base in recipes.names()
    for cell in chosen.cells.values():
        assert len(cell.figures) == len(chosen.columns)


@pytest.mark.parametrize("on", [None, "small"])
@pytest.mark.parametrize("name", N_CELLS)
def test_every_cell_is_another_model_or_training_and_builds(name, on):
    cells = sets.recipes_of(name, on=on and SMALL[name])
    assert (
        len({repr(recipes.to_dict(recipe) | {"name": ""}) for recipe in cells.values()})
        == (N_CELLS[name])
    )
    for recipe in cells.values():
        assert recipe.init is None or recipe.init in STARTS
        with torch.device("meta"):
            models.create(
                recipe.model,
                **recipe.model_changes,
                n_classes=10,
                n_mels=recipe.front_end.n_mels,
                n_frames=recipe.front_end.n_frames,
            )


def test_table_ii_is_direction_by_place():
    cells = sets.recipes_of("aum/table-ii", on="esc10/aum-tiny", changes=["epochs=3"])
    recipe = cells["bi-bi, end"]
    assert recipe.model_changes == {"depth": 12, "direction": "bi-bi", "class_token": "end"}
    assert recipe.epochs == 3
    assert recipe.name == "esc10/aum-tiny, aum/table-ii: bi-bi, end"
    figures = {name: cell.figures for name, cell in sets.get_set("aum/table-ii").cells.items()}
    assert figures["fo-fo, head"] == (0.48, 0.33)
    assert figures["fo-bi, middle"] == (13.81, 42.58)
    assert figures["bi-bi, head"] == (4.97, 34.22)


def test_what_a_set_compares_cannot_be_set_for_all():
    with pytest.raises(ConfigError, match="is what aum/table-ii compares"):
        sets.recipes_of("aum/table-ii", changes=["model_changes.direction=fo-fo"])


def test_an_unknown_set_offers_names():
    with pytest.raises(UnknownNameError, match="did you mean aum/table-ii"):
        sets.get_set("aum/table-iii")
