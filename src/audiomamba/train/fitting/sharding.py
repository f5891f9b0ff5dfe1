"""Weights, gradients and the optimizer's averages shared out among processes.

Each process keeps its share of every weight, and has a block's weights whole only while the block
is computed. What is saved is whole, as without sharing out.

Source: Zhao et al., "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel" (2023).
"""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_avg_fn, get_swa_avg_fn

from audiomamba.models import AudioModel
from audiomamba.train.fitting.activations import blocks_of
from audiomamba.train.fitting.full_state import full_model, full_tensor
from audiomamba.train.fitting.module import TrainingModule

__all__ = ["ShardingStrategy", "shard"]

T = TypeVar("T")


class ShardingStrategy(DDPStrategy):
    """Processes that train together, each with its share of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self._has_failed = False

    def configure_ddp(self) -> None:
        """Share out the weights and their average, in place of copying them to every process."""
        module = self._training_module
        shard(module.model, self.root_device.type)
        if module.average is not None:
            shard(cast(AudioModel, module.average.module), self.root_device.type)
            decay = module.recipe.ema_decay  # one weight at a time, as shares and buffers differ
            module.average.multi_avg_fn = None
            module.average.avg_fn = get_swa_avg_fn() if decay is None else get_ema_avg_fn(decay)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the whole weights; called in all processes."""
        return {
            name: full_tensor(value) for name, value in self._training_module.state_dict().items()
        }

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Tensor]:
        """Return the optimizer's whole averages; called in all processes."""
        state = optimizer.state_dict()
        state["state"] = {
            number: {name: full_tensor(value) for name, value in of_weight.items()}
            for number, of_weight in state["state"].items()
        }
        return state

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Share out whole averages."""
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            state = {
                number: {name: _share(value, weights[number]) for name, value in of_weight.items()}
                for number, of_weight in saved["state"].items()
            }
            optimizer.load_state_dict({**saved, "state": state})

    def on_exception(self, exception: BaseException) -> None:
        """Remember that other processes may be gone."""
        self._has_failed = True
        super().on_exception(exception)

    def teardown(self) -> None:
        """Leave the module with whole weights."""
        if not self._has_failed:
            module = self._training_module
            module.model = full_model(module.model)
            if module.average is not None:
                module.average.module = full_model(cast(AudioModel, module.average.module))
        super().teardown()

    @property
    def _training_module(self) -> TrainingModule:
        return cast(TrainingModule, self.lightning_module)


def shard(model: AudioModel, device_type: str) -> None:
    """Share out a model's weights among all processes, block by block.

    Args:
        model: the model, the same in all processes; it is changed.
        device_type: "cpu" or "cuda".
    """
    for weight in model.parameters():
        weight.data = weight.data.contiguous()  # as only such are shared out
    mesh = init_device_mesh(device_type, (torch.distributed.get_world_size(),))
    for module in (*blocks_of(model), model):
        fully_shard(module, mesh=mesh)


def _share(value: T, weight: nn.Parameter) -> T | DTensor:
    """A process's share of what belongs to a weight, if it has the weight's shape."""
    if not isinstance(weight, DTensor) or not isinstance(value, Tensor):
        return value
    if value.shape != weight.shape:
        return value
    own = value.to(weight.device)
    return distribute_tensor(own, weight.device_mesh, weight.placements, src_data_rank=None)
