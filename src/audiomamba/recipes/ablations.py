"""Ablations and comparisons: the tables of papers, each a few recipes that differ in one thing.

A table has a base recipe and, for each cell, changes to it. It can be made on another base, such as
a recipe for a small corpus, where the paper's figures are no more than a comparison:

    cells = ablations.recipes_of("aum/table-ii", on="esc10/aum-tiny")
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from audiomamba import recipes
from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.recipes.overrides import override
from audiomamba.recipes.schema import Recipe

__all__ = ["ABLATIONS", "Ablation", "Cell", "get", "names", "recipes_of"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table, which is one run.

    Args:
        changes: to the base recipe, as recipes.override reads them.
        figures: the paper's, in percent, one for each column of the table.
    """

    changes: tuple[str, ...]
    figures: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """The cells of a table in a paper.

    Args:
        name: paper and table.
        about: what is compared, in words.
        source: paper and table, in full.
        base: name of the recipe that the cells change.
        columns: what the paper's figures are.
        cells: by name, in the order of the table.
    """

    name: str
    about: str
    source: str
    base: str
    columns: tuple[str, ...]
    cells: Mapping[str, Cell]


AUM = "Erol et al., Audio Mamba (2024)"
# Table II: AS-20K and VGGSound with the class token at the head, in the middle and at the end.
TABLE_II: Mapping[str, tuple[tuple[float, float], ...]] = {
    "fo-fo": ((0.48, 0.33), (11.73, 35.05), (11.90, 39.09)),
    "fo-bi": ((13.57, 40.91), (13.81, 42.58), (12.35, 40.41)),
    "bi-bi": ((4.97, 34.22), (9.69, 36.48), (11.11, 41.09)),
}
PLACES = ("head", "middle", "end")
# The cells of esc10/comparison are cut down so that one core trains all of them on all folds in an
# hour or two: fewer blocks, and an image no larger than 64 bands and 256 frames fill.
AUM_SHALLOW = ("model_changes.depth=4",)
SMALL_IMAGE = ("model_changes.image_size=128", "model_changes.drop_path=0.0")
NANO = ("model=audiomamba_nano", "model_changes.depths=1,1,2,1", *SMALL_IMAGE)
HTSAT_NANO = (
    "model=htsat_tiny",
    "model_changes.dim=32",
    "model_changes.n_heads=2,4,8,16",
    "model_changes.depths=2,2,2,1",
    *SMALL_IMAGE,
)
FEMTO = ("model=mambaout_femto", "model_changes.depths=1,1,3,1", "model_changes.drop_path=0.0")
TRANSFORMER = ("model_changes.n_heads=4,8,16,32",)  # those of HTS-AT; the paper gives none
IMAGENET = (*TRANSFORMER, "init=imagenet/vmamba-tiny")

ABLATIONS: Mapping[str, Ablation] = {
    one.name: one
    for one in (
        Ablation(
            name="aum/table-ii",
            about="AuM: direction of the mixer and place of the class token",
            source=f"{AUM}, Table II",
            base="audioset20k/aum-base",
            columns=("AS-20K mAP", "VGGSound accuracy"),
            cells={
                f"{direction}, {place}": Cell(
                    changes=(
                        f"model_changes.direction={direction}",
                        f"model_changes.class_token={place}",
                    ),
                    figures=figures,
                )
                for direction, row in TABLE_II.items()
                for place, figures in zip(PLACES, row, strict=True)
            },
        ),
        Ablation(
            name="aum/table-v",
            about="AuM: class token or mean, positions, shape of the patches",
            source=f"{AUM}, Table V",
            base="audioset20k/aum-base",
            columns=("AS-20K mAP",),
            cells={
                "class token": Cell(changes=(), figures=(13.81,)),
                "mean": Cell(
                    changes=("model_changes.class_token=none", "model_changes.pool=mean"),
                    figures=(11.55,),
                ),
                "no positions": Cell(changes=("model_changes.positions=none",), figures=(13.87,)),
                "patches of 128x2": Cell(changes=("model_changes.patch=128,2",), figures=(11.95,)),
            },
        ),
        Ablation(
            name="audiomamba/table-2",
            about="hierarchical Audio Mamba: transformer blocks, ImageNet weights, CutMix",
            source="Lin and Hu, Audio Mamba: Pretrained Audio State Space Model (2024), Table 2",
            base="esc50/audiomamba-tiny",
            columns=("ESC-50 accuracy", "micro F1", "macro F1"),
            cells={
                "HTS-AT": Cell(changes=("model=htsat_tiny",), figures=(53.5, 53.8, 50.1)),
                "Audio Mamba": Cell(changes=(), figures=(43.5, 43.5, 40.8)),
                "+ transformer blocks": Cell(changes=TRANSFORMER, figures=(43.8, 43.8, 40.7)),
                "+ ImageNet": Cell(changes=IMAGENET, figures=(72.5, 72.5, 71.5)),
                "+ ImageNet + CutMix": Cell(
                    changes=(*IMAGENET, "augment.cutmix=0.5"), figures=(72.8, 72.8, 71.6)
                ),
            },
        ),
        Ablation(
            name="vim/table-4",
            about="Vision Mamba: direction of the mixer, here on spectrograms",
            source="Zhu et al., Vision Mamba (2024), Table 4",
            base="audioset20k/vim-tiny",
            columns=("ImageNet accuracy", "ADE20K mIoU"),
            cells={
                name: Cell(changes=(f"model_changes.direction={direction}",), figures=figures)
                for name, direction, figures in (
                    ("none", "fo-fo", (73.2, 32.3)),
                    ("bidirectional layer", "alternating", (70.9, 33.6)),
                    ("bidirectional SSM", "fo-bi", (72.8, 33.2)),
                    ("bidirectional SSM + Conv1d", "bi-bi", (73.1, 34.8)),
                )
            },
        ),
        Ablation(
            name="esc10/comparison",
            about="AuM's directions, class tokens, positions, patches, and other models, all small",
            source=f"{AUM}, Tables II and V",
            base="esc10/short",
            columns=("AS-20K mAP",),
            cells={
                f"AuM, {direction}, {place}": Cell(
                    changes=(
                        *AUM_SHALLOW,
                        f"model_changes.direction={direction}",
                        f"model_changes.class_token={place}",
                    ),
                    figures=figures[:1],
                )
                for direction, row in TABLE_II.items()
                for place, figures in zip(PLACES, row, strict=True)
            }
            | {
                "AuM, fo-bi, mean": Cell(
                    changes=(
                        *AUM_SHALLOW,
                        "model_changes.class_token=none",
                        "model_changes.pool=mean",
                    ),
                    figures=(11.55,),
                ),
                "AuM, fo-bi, middle, no positions": Cell(
                    changes=(*AUM_SHALLOW, "model_changes.positions=none"), figures=(13.87,)
                ),
                "AuM, fo-bi, middle, patches of all bands": Cell(
                    changes=(*AUM_SHALLOW, "model_changes.patch=64,4"), figures=(11.95,)
                ),
                "AST": Cell(changes=("model=ast_tiny", "model_changes.depth=3"), figures=(None,)),
                "hierarchical Audio Mamba": Cell(changes=NANO, figures=(None,)),
                "hierarchical Audio Mamba + CutMix": Cell(
                    changes=(*NANO, "augment.cutmix=0.5"), figures=(None,)
                ),
                "HTS-AT": Cell(changes=HTSAT_NANO, figures=(None,)),
                "MambaOut": Cell(changes=FEMTO, figures=(None,)),
            },
        ),
    )
}


def get(name: str) -> Ablation:
    """Return a table.

    Args:
        name: paper and table, such as "aum/table-ii".

    Returns:
        The table.

    Raises:
        UnknownNameError: there is no such table.
    """
    if name not in ABLATIONS:
        raise UnknownNameError("ablation", name, ABLATIONS)
    return ABLATIONS[name]


def names() -> list[str]:
    """Return the names of all tables, sorted."""
    return sorted(ABLATIONS)


def recipes_of(
    name: str, *, on: str | None = None, changes: Iterable[str] = ()
) -> dict[str, Recipe]:
    """Return the recipes of a table's cells.

    Args:
        name: of the table.
        on: name of the recipe that the cells change; None for the paper's.
        changes: to all cells alike, as recipes.override reads them; a cell's own come after them.

    Returns:
        One recipe per cell, by the cell's name.

    Raises:
        UnknownNameError: there is no such table or recipe.
        ConfigError: a change does not fit the recipe, or contradicts a cell's own.

    Examples:
        >>> cells = recipes_of("aum/table-ii", on="esc10/aum-tiny")
        >>> cells["bi-bi, end"].model_changes["class_token"]
        'end'
    """
    chosen, common = get(name), list(changes)
    base = recipes.get(on or chosen.base)
    own = {change.partition("=")[0] for cell in chosen.cells.values() for change in cell.changes}
    for change in common:
        field = change.partition("=")[0].strip()
        if field in own:
            raise ConfigError(f"{field} is what {name} compares; it cannot be set for all cells")
    return {
        cell: replace(
            override(base, [*common, *one.changes]), name=f"{base.name}, {chosen.name}: {cell}"
        )
        for cell, one in chosen.cells.items()
    }
