"""Less memory for a training step: what blocks compute is computed again when it is needed."""

from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from audiomamba.errors import ConfigError
from audiomamba.models import AudioModel

__all__ = ["blocks_of", "checkpoint_blocks"]


def checkpoint_blocks(model: AudioModel) -> int:
    """Make every block of a model keep its inputs only, and compute the rest again backward.

    Dropout draws the same both times, so the gradients are the same.

    Args:
        model: the model; it is changed.

    Returns:
        Number of blocks.

    Raises:
        ConfigError: the model has no blocks for which this is possible.

    Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016).
    """
    blocks = blocks_of(model)
    if not blocks:
        raise ConfigError(
            f"activation_checkpointing is true, but {type(model).__name__} has no blocks that can "
            "be computed twice; set it to false"
        )
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    return len(blocks)


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Find the blocks: members of the innermost lists of modules, or of sequences in them.

    Args:
        model: the model.

    Returns:
        The blocks, but for those with batch norms, whose averages a second pass would move again.
    """
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return [
        block
        for members in lists
        for member in members
        for block in (member if isinstance(member, nn.Sequential) else [member])
        if not any(isinstance(member, nn.ModuleList | _BatchNorm) for member in block.modules())
    ]
