"""Recipes: data that fully determine a training run.

recipe = recipes.get("esc10/starter")
recipe = recipes.override(recipe, ["epochs=20", "augment.mixup=0"])
"""

from collections.abc import Mapping

from audiomamba.errors import UnknownNameError
from audiomamba.recipes import (
    audioset,
    epic_sounds,
    esc10,
    esc50,
    own,
    speech_commands,
    vggsound,
    voxceleb1,
)
from audiomamba.recipes.distillation import Distillation
from audiomamba.recipes.overrides import from_dict, override, to_dict
from audiomamba.recipes.schedule import Schedule
from audiomamba.recipes.schema import Recipe
from audiomamba.recipes.starts import STARTS, Start

__all__ = [
    "RECIPES",
    "STARTS",
    "Distillation",
    "Recipe",
    "Schedule",
    "Start",
    "from_dict",
    "get",
    "names",
    "override",
    "to_dict",
]

RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        *audioset.RECIPES,
        *audioset.RECIPES_20K,
        *epic_sounds.RECIPES,
        *esc10.RECIPES,
        *esc50.RECIPES,
        *own.RECIPES,
        *speech_commands.RECIPES,
        *vggsound.RECIPES,
        *voxceleb1.RECIPES,
    )
}


def get(name: str) -> Recipe:
    """Return a recipe.

    Args:
        name: corpus and variant, such as "esc10/starter".

    Returns:
        The recipe.

    Raises:
        UnknownNameError: there is no such recipe.

    Examples:
        >>> get("esc10/starter").model
        'conv_aum_tiny'
    """
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    return RECIPES[name]


def names() -> list[str]:
    """Return the names of all recipes, sorted.

    Examples:
        >>> names()[0]
        'audioset/ast-base'
    """
    return sorted(RECIPES)
