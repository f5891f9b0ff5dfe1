"""Devices, precision and processes, as Lightning Fabric has them."""

import logging
import os
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.precision import MixedPrecision, Precision
from torch import nn

from audiomamba.recipes import Recipe
from audiomamba.train.fitting import processes

__all__ = ["new_fabric", "new_precision", "synchronize_batch_norms"]


class _MixedPrecision(MixedPrecision):
    """Mixed precision in which waveforms and labels stay float32: features are made of them."""

    def convert_input(self, data: Any) -> Any:
        return data


def new_precision(recipe: Recipe) -> Precision:
    """Return the precision of a recipe's steps.

    Args:
        recipe: the recipe.

    Returns:
        Fabric's plugin; made here, as by itself it takes no float16 on a CPU.
    """
    if recipe.precision == "float32":
        return Precision()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return _MixedPrecision("16-mixed" if recipe.precision == "float16" else "bf16-mixed", device)


def new_fabric(precision: Precision) -> Fabric:
    """Choose a device for this process, a GPU if there is one, beside those of others.

    Args:
        precision: that of the steps.

    Returns:
        Fabric, launched.
    """
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)  # or it gives tips
    n_processes = processes.n_processes()
    n_here = int(os.environ["LOCAL_WORLD_SIZE"]) if n_processes > 1 else 1
    fabric = Fabric(
        accelerator="auto",
        strategy="ddp" if n_processes > 1 else "auto",
        devices=n_here,
        num_nodes=n_processes // n_here,
        plugins=[precision],
    )
    fabric.launch()
    return fabric


def synchronize_batch_norms(module: nn.Module) -> None:
    """Let batch norms on GPUs measure the clips of all processes together.

    Args:
        module: the module; it is changed.
    """
    if processes.n_processes() > 1 and torch.cuda.is_available():
        nn.SyncBatchNorm.convert_sync_batchnorm(module)
