"""Stochastic depth: in training, the residual branch of whole samples is left out now and then.

Source: Huang et al., "Deep Networks with Stochastic Depth" (2016), section 3.
"""

import torch
from torch import Tensor

__all__ = ["drop_path", "drop_rates"]


def drop_path(branch: Tensor, probability: float) -> Tensor:
    """Drop the branch (batch, ...) of whole samples, and scale up what is kept: the mean stays."""
    if probability == 0:
        return branch
    keep = torch.rand(branch.shape[0], *[1] * (branch.ndim - 1), device=branch.device)
    return branch * ((keep >= probability) / (1 - probability)).to(branch.dtype)


def drop_rates(highest: float, n_blocks: int) -> list[float]:
    """The probability of each block, from 0 for the first to the highest for the last."""
    rates: list[float] = torch.linspace(0, highest, n_blocks, device="cpu").tolist()
    return rates
