"""The learning rate of each step, and of each layer."""

import math
import re
from collections import defaultdict
from typing import Any

from torch import nn

from audiomamba.vision.training.recipe import ImageRecipe

__all__ = ["layer_of", "rate_at", "weight_groups"]

EMBEDDINGS = ("patch_embed", "pos_embed", "cls_token", "dist_token")
UNDECAYED = ("pos_embed", "cls_token", "dist_token", "A_log", "A_b_log", "D", "D_b")
BLOCK = re.compile(r"(?:^|\.)(?:layers|blocks)\.(\d+)\.")


def rate_at(recipe: ImageRecipe, step: int) -> float:
    """The learning rate at a step.

    Args:
        recipe: the recipe.
        step: counted from 0.

    Returns:
        The rate of the layers that have the whole one.

    Examples:
        >>> from audiomamba.vision.training.recipes import RECIPES
        >>> recipe = RECIPES["ade20k/vim_tiny.code"]
        >>> rate_at(recipe, recipe.steps // 2) == recipe.learning_rate / 2
        True
    """
    share = 1.0
    if recipe.schedule == "poly":
        share = 1 - step / recipe.steps
    elif recipe.schedule == "cosine":
        share = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    elif recipe.schedule == "steps":
        share = 0.1 ** sum(step >= drop * recipe.steps for drop in recipe.drops)
    warmup = min(1.0, (step + 1) / recipe.warmup_steps) if recipe.warmup_steps else 1.0
    return recipe.learning_rate * share * warmup


def layer_of(name: str, depth: int) -> int:
    """The layer that a weight belongs to.

    Args:
        name: the weight's name in the model.
        depth: blocks of the backbone.

    Returns:
        0 for what makes tokens, 1 to depth for the blocks, depth + 1 for all after them.

    Examples:
        >>> layer_of("backbone.model.layers.3.norm.weight", depth=24)
        4
        >>> layer_of("backbone.model.pos_embed", depth=24), layer_of("head.join.0", depth=24)
        (0, 25)
    """
    if not name.startswith(("backbone.", "layers.", "blocks.", *EMBEDDINGS)):
        return depth + 1
    if any(part in EMBEDDINGS for part in name.split(".")):
        return 0
    block = BLOCK.search(name)
    return int(block[1]) + 1 if block else depth + 1


def weight_groups(model: nn.Module, recipe: ImageRecipe) -> list[dict[str, Any]]:
    """Divide the weights by their learning rate and weight decay.

    Args:
        model: the model.
        recipe: the recipe.

    Returns:
        Groups for an optimizer; "share" is what a group has of the learning rate.

    Source: Bao et al., "BEiT" (2021), for rates that fall from layer to layer.

    Examples:
        >>> from audiomamba import vision
        >>> from audiomamba.vision.training.recipes import RECIPES
        >>> recipe = RECIPES["ade20k/vim_tiny.code"]
        >>> groups = weight_groups(vision.create(recipe.model), recipe)
        >>> sorted({round(group["share"], 3) for group in groups})
        [0.124, 1.0]
    """
    depth = _depth(model)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        free = weight.ndim < 2 or name.rpartition(".")[2] in UNDECAYED
        groups[_share(name, depth, recipe), free].append(weight)
    return [
        {
            "params": weights,
            "share": share,
            "weight_decay": 0.0 if free else recipe.weight_decay,
        }
        for (share, free), weights in sorted(groups.items(), key=lambda one: one[0])
    ]


def _share(name: str, depth: int, recipe: ImageRecipe) -> float:
    layer = layer_of(name, depth)
    if recipe.decayed_layers == "none" or (recipe.decayed_layers == "embeddings" and layer > 0):
        return 1.0
    return float(recipe.layer_decay ** (depth + 1 - layer))


def _depth(model: nn.Module) -> int:
    """How many blocks the backbone has; 0 of one that is not a plain stack of them."""
    found = (BLOCK.search(name) for name, _ in model.named_parameters())
    return max((int(match[1]) + 1 for match in found if match), default=0)
