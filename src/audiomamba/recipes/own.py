"""A data set of one's own, as a CSV table or a folder per class: the starter's recipe."""

from dataclasses import replace

from audiomamba.recipes import esc10

__all__ = ["RECIPES"]

RECIPES = (replace(esc10.STARTER, name="own/starter", corpus="own", ood_limit=None),)
