"""Recipes to and from plain data, and changes to single fields."""

from collections.abc import Iterable, Mapping
from typing import Any

from audiomamba import config
from audiomamba.recipes.schema import Recipe

__all__ = ["from_dict", "override", "to_dict"]

RENAMED = {"familiarity_limit": "ood_limit"}  # fields by the names that older runs saved


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """Turn a recipe into dictionaries, lists, numbers and strings.

    Args:
        recipe: the recipe.

    Returns:
        What json.dump can write.

    Examples:
        >>> from audiomamba import recipes
        >>> recipes.to_dict(recipes.get("esc10/starter"))["augment"]["mixup"]
        0.7
    """
    return config.to_plain(recipe)


def from_dict(values: Mapping[str, Any]) -> Recipe:
    """Make a recipe of what to_dict gave, also in a version in which fields had other names.

    Args:
        values: the fields by name.

    Returns:
        The recipe.

    Raises:
        ConfigError: a field is unknown, missing, or has a value of another type.

    Examples:
        >>> from audiomamba import recipes
        >>> recipe = recipes.get("esc10/starter")
        >>> recipes.from_dict(recipes.to_dict(recipe)) == recipe
        True
    """
    return config.from_plain(Recipe, {RENAMED.get(name, name): it for name, it in values.items()})


def override(recipe: Recipe, changes: Iterable[str]) -> Recipe:
    """Change fields of a recipe.

    Args:
        recipe: the recipe.
        changes: texts such as "epochs=20", "augment.speed=0.9,1.1", "ema_decay=none" or
            "model_changes.depth=2".

    Returns:
        The changed recipe.

    Raises:
        ConfigError: a text is not NAME=VALUE, there is no such field, or the value has another
            type or is out of range.

    Examples:
        >>> from audiomamba import recipes
        >>> recipe = recipes.get("esc10/starter")
        >>> changed = recipes.override(recipe, ["epochs=20", "augment.mixup=0"])
        >>> changed.epochs, changed.augment.mixup
        (20, 0.0)
    """
    return config.override(recipe, changes)
