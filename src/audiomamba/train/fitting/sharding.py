"""Weights, gradients and the optimizer's averages sharded among processes.

Each process keeps its share of every weight, and has all weights of a block only while the block is
computed. What is saved is complete, as without sharding.

Source: Zhao et al., "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel" (2023).
"""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_avg_fn, get_swa_avg_fn

from audiomamba.models import AudioModel
from audiomamba.train.fitting.activations import blocks_of
from audiomamba.train.fitting.module import TrainingModule

__all__ = ["shard", "shard_training", "with_shares"]

T = TypeVar("T")


def shard_training(module: TrainingModule, device_type: str) -> None:
    """Shard a model in training, and the average of its weights.

    Args:
        module: the model in training, the same in all processes; it is changed.
        device_type: "cpu" or "cuda".
    """
    shard(module.model, device_type)
    if module.average is not None:
        shard(cast(AudioModel, module.average.module), device_type)
        decay = module.recipe.ema_decay  # one weight at a time, as shares and buffers differ
        module.average.multi_avg_fn = None
        module.average.avg_fn = get_swa_avg_fn() if decay is None else get_ema_avg_fn(decay)


def shard(model: AudioModel, device_type: str) -> None:
    """Shard a model's weights among all processes, block by block.

    Args:
        model: the model, the same in all processes; it is changed.
        device_type: "cpu" or "cuda".
    """
    for weight in model.parameters():
        weight.data = weight.data.contiguous()  # as only such can be sharded
    mesh = init_device_mesh(device_type, (torch.distributed.get_world_size(),))
    for module in (*blocks_of(model), model):
        fully_shard(module, mesh=mesh)


def with_shares(optimizer: Optimizer, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Give every sharded weight its share of a complete state of the optimizer.

    Args:
        optimizer: the optimizer, of sharded weights.
        saved: what its state_dict was, with full tensors.

    Returns:
        The state to load.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state = {
        number: {name: _share(value, weights[number]) for name, value in of_weight.items()}
        for number, of_weight in saved["state"].items()
    }
    return {**saved, "state": state}


def _share(value: T, weight: nn.Parameter) -> T | DTensor:
    """A process's share of what belongs to a weight, if it has the weight's shape."""
    if not isinstance(weight, DTensor) or not isinstance(value, Tensor):
        return value
    if value.shape != weight.shape:
        return value
    own = value.to(weight.device)
    return distribute_tensor(own, weight.device_mesh, weight.placements, src_data_rank=None)
