"""Whole weights of models whose weights are shared out among processes."""

from typing import TypeVar

import torch
from torch import Tensor

from audiomamba.models import AudioModel

__all__ = ["full_model", "full_tensor"]

T = TypeVar("T")


def full_tensor(value: T) -> T:
    """Put the shares of all processes together; all of them have to call this.

    Args:
        value: a tensor, or anything else.

    Returns:
        The whole tensor; what is not shared out as it is.
    """
    gather = getattr(value, "full_tensor", None)
    return value if gather is None else gather()


@torch.no_grad()
def full_model(model: AudioModel) -> AudioModel:
    """Put the shares of a model together; all processes have to call this.

    Args:
        model: the model.

    Returns:
        A copy with whole weights; the model itself if they are not shared out.
    """
    state = model.state_dict()
    if not any(hasattr(value, "full_tensor") for value in state.values()):
        return model
    with torch.device("meta"):
        copy = model.config.build()
    weights: dict[str, Tensor] = {name: full_tensor(value).clone() for name, value in state.items()}
    copy.load_state_dict(weights, assign=True)
    for own, other in zip(copy.parameters(), model.parameters(), strict=True):
        own.requires_grad_(other.requires_grad)
    return copy.train(model.training)
