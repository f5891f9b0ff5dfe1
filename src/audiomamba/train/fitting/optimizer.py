"""Optimizers, and which weights shrink."""

from typing import Any

from torch import nn
from torch.optim import Adam, AdamW, Optimizer

from audiomamba.models import AudioModel
from audiomamba.recipes import Recipe

__all__ = ["new_optimizer", "weight_groups"]


def new_optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    """Make the optimizer of a recipe.

    Args:
        model: whose weights it moves.
        recipe: which one, and its settings.

    Returns:
        The optimizer.
    """
    if recipe.decayed == "all":
        groups = [{"params": list(model.parameters()), "weight_decay": recipe.weight_decay}]
    else:
        groups = weight_groups(model, recipe.weight_decay)
    cls = AdamW if recipe.optimizer == "adamw" else Adam
    return cls(groups, lr=recipe.learning_rate, betas=recipe.betas)


def weight_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Divide the weights by whether weight decay is put on them.

    Args:
        model: the model.
        weight_decay: for matrices and kernels; not for vectors, nor for what the model
            names as undecayed, such as positions and tokens.

    Returns:
        Two groups for an optimizer.
    """
    decayed: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    undecayed = model.undecayed if isinstance(model, AudioModel) else frozenset()
    for name, weight in model.named_parameters():
        free = weight.ndim < 2 or name.rpartition(".")[2] in undecayed
        (rest if free else decayed).append(weight)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
