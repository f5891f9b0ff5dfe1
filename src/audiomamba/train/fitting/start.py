"""Finding the weights that a recipe starts from."""

from pathlib import Path

from audiomamba import checkpoints
from audiomamba.errors import CheckpointError
from audiomamba.recipes import STARTS

__all__ = ["find_start"]

FILE_ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")


def find_start(init: str, weights: Path | None = None) -> Path:
    """Find the weights that a recipe names.

    Args:
        init: the recipe's field: a name of recipes.STARTS, a model folder, a weight file, or
            another name or address that checkpoints.find takes.
        weights: a folder that holds the named ones: imagenet/vim-small/ as converted, or as
            released imagenet/vim-small.pth.

    Returns:
        A model folder or a weight file.

    Raises:
        CheckpointError: they are not there; the message says where to get them.
    """
    named = [] if weights is None else [weights / (init + ending) for ending in ("", *FILE_ENDINGS)]
    for path in (*named, Path(init)):
        if path.exists():
            return path
    if checkpoints.is_model(init):
        return checkpoints.find(init)
    if init in STARTS:
        raise CheckpointError(
            f"the recipe starts from {STARTS[init].what}: get it from {STARTS[init].source}, then "
            f"give --set init=FILE, or --weights DIR for DIR/{init}.pth"
        )
    raise CheckpointError(
        f"init is {init!r}: no such file, folder or model; known: {', '.join(STARTS)}"
    )
