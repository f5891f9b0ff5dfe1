"""ESC-50: fifty kinds of environmental sound, 2000 clips of 5 s, five folds: ESC-10's recipes."""

from dataclasses import replace

from audiomamba.recipes import esc10

__all__ = ["RECIPES"]

RECIPES = tuple(
    replace(recipe, name=recipe.name.replace("esc10", "esc50"), corpus="esc50")
    for recipe in esc10.RECIPES
)
