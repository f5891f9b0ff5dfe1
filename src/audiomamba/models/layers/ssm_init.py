"""The initial decays and step sizes of a state space model.

Source: Gu and Dao 2023, section 3.6. Both are computed on the CPU whatever the device: on the meta
device, where models are made to be loaded, PyTorch would import its compiler, which takes a second.
"""

import math

import torch
from torch import Tensor

__all__ = ["draw_step_sizes", "log_of_states"]

DELTA_MIN, DELTA_MAX, DELTA_FLOOR = 0.001, 0.1, 1e-4


def log_of_states(A_log: Tensor) -> Tensor:
    """Fill (..., states) with the logarithms of 1 to the number of states, the initial decays."""
    states = torch.arange(1, A_log.shape[-1] + 1, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        return A_log.copy_(states.log())


def draw_step_sizes(bias: Tensor) -> None:
    """Draw biases, of any shape, whose softplus is log-uniform from DELTA_MIN to DELTA_MAX."""
    log_delta = torch.empty(bias.shape, device="cpu")
    log_delta.uniform_(math.log(DELTA_MIN), math.log(DELTA_MAX))
    delta = log_delta.exp().clamp_min(DELTA_FLOOR)
    with torch.no_grad():
        bias.copy_(delta + torch.log(-torch.expm1(-delta)))  # the inverse of softplus
