import pytest
import torch

from audiomamba import models, recipes
from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.recipes import STARTS, ablations

N_CELLS = {
    "aum/table-ii": 9,
    "aum/table-v": 4,
    "audiomamba/table-2": 5,
    "esc10/comparison": 17,
    "vim/table-4": 4,
}
SMALL = {
    "aum/table-ii": "esc10/aum-tiny",
    "aum/table-v": "esc10/aum-tiny",
    "audiomamba/table-2": "esc10/audiomamba-nano",
    "esc10/comparison": "esc50/short",
    "vim/table-4": "esc10/vim-tiny",
}


def test_the_sets_are_these():
    assert {name: len(ablations.get(name).cells) for name in ablations.names()} == N_CELLS


@pytest.mark.parametrize("name", N_CELLS)
def test_a_set_has_the_papers_figures_in_all_columns(name):
    chosen = ablations.get(name)
    assert chosen.base in recipes.names()
    for cell in chosen.cells.values():
        assert len(cell.figures) == len(chosen.columns)


@pytest.mark.parametrize("on", [None, "small"])
@pytest.mark.parametrize("name", N_CELLS)
def test_every_cell_is_another_model_or_training_and_builds(name, on):
    cells = ablations.recipes_of(name, on=on and SMALL[name])
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
    cells = ablations.recipes_of("aum/table-ii", on="esc10/aum-tiny", changes=["epochs=3"])
    recipe = cells["bi-bi, end"]
    assert recipe.model_changes == {"depth": 12, "direction": "bi-bi", "class_token": "end"}
    assert recipe.epochs == 3
    assert recipe.name == "esc10/aum-tiny, aum/table-ii: bi-bi, end"
    figures = {name: cell.figures for name, cell in ablations.get("aum/table-ii").cells.items()}
    assert figures["fo-fo, head"] == (0.48, 0.33)
    assert figures["fo-bi, middle"] == (13.81, 42.58)
    assert figures["bi-bi, head"] == (4.97, 34.22)


def test_the_comparison_changes_nothing_but_the_model_and_cutmix():
    base = recipes.to_dict(recipes.get("esc10/short"))
    cells = ablations.recipes_of("esc10/comparison")
    for name, recipe in cells.items():
        own = recipes.to_dict(recipe)
        assert own["augment"].pop("cutmix") == (0.5 if "CutMix" in name else 0.0)
        base["augment"].pop("cutmix", None)
        free = dict.fromkeys(("name", "model", "model_changes"))
        assert own | free == base | free
    plain, mixed = (cells[f"hierarchical Audio Mamba{end}"] for end in ("", " + CutMix"))
    assert (mixed.model, mixed.model_changes) == (plain.model, plain.model_changes)


def test_the_comparison_holds_table_ii_and_table_v_and_models_of_like_size():
    cells, models_of = ablations.recipes_of("esc10/comparison"), {}
    table_ii = ablations.recipes_of(
        "aum/table-ii", on="esc10/short", changes=["model_changes.depth=4"]
    )
    for name, recipe in table_ii.items():
        assert cells[f"AuM, {name}"].model_changes == recipe.model_changes
    figures = {name: cell.figures for name, cell in ablations.get("esc10/comparison").cells.items()}
    table_v = {name: cell.figures for name, cell in ablations.get("aum/table-v").cells.items()}
    assert figures["AuM, fo-bi, middle"] == table_v["class token"]
    assert figures["AuM, fo-bi, mean"] == table_v["mean"]
    assert figures["AuM, fo-bi, middle, no positions"] == table_v["no positions"]
    assert figures["AuM, fo-bi, middle, patches of all bands"] == table_v["patches of 128x2"]
    with torch.device("meta"):
        for name, recipe in cells.items():
            front_end = recipe.front_end
            models_of[name] = models.create(
                recipe.model,
                **recipe.model_changes,
                n_classes=10,
                n_mels=front_end.n_mels,
                n_frames=front_end.n_frames,
            )
    grids = {model.config.grid for name, model in models_of.items() if name.startswith("AuM")}
    assert grids == {(4, 16), (1, 64)}  # 64 tokens, whatever the patches
    sizes = {name: sum(w.numel() for w in model.parameters()) for name, model in models_of.items()}
    assert all(1.0e6 < size < 1.6e6 for name, size in sizes.items() if name != "MambaOut")
    assert sizes["HTS-AT"] == pytest.approx(sizes["hierarchical Audio Mamba"], rel=0.01)


def test_what_a_set_compares_cannot_be_set_for_all():
    with pytest.raises(ConfigError, match="is what aum/table-ii compares"):
        ablations.recipes_of("aum/table-ii", changes=["model_changes.direction=fo-fo"])


def test_an_unknown_set_offers_names():
    with pytest.raises(UnknownNameError, match="did you mean aum/table-ii"):
        ablations.get("aum/table-iii")
