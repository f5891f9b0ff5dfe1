"""Begin a model of images with the weights of a trained classifier."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba.errors import CheckpointError
from audiomamba.models import AST, AudioModel, Vim
from audiomamba.models.layers.sequence import Layout

__all__ = ["fit_positions", "start_from_classifier"]

HEAD = ("head.weight", "head.bias")


def start_from_classifier(target: AudioModel, source: AudioModel) -> list[str]:
    """Give a model, or a backbone's model, the weights of a trained classifier.

    Learned positions are brought to the target's grid. What only the source has is left out. A head
    for other classes stays fresh.

    Args:
        target: whose weights are replaced.
        source: of the same family and width.

    Returns:
        The names of the weights that were replaced.

    Raises:
        CheckpointError: the two do not fit each other.

    Examples:
        >>> from audiomamba.models import VimConfig
        >>> from audiomamba.vision.backbones import BlockBackbone
        >>> source = VimConfig(dim=16, depth=2, class_token="middle").build()
        >>> config = source.config.changed(n_mels=64, n_frames=96, class_token="none")
        >>> backbone = BlockBackbone(config, blocks=(1, 2))
        >>> "pos_embed" in start_from_classifier(backbone.model, source)
        True
    """
    if type(target) is not type(source):
        raise CheckpointError(
            f"the weights are of {source.config.family}; the model is {target.config.family}"
        )
    wanted = target.state_dict()
    given = {name: weight for name, weight in source.state_dict().items() if name in wanted}
    if "pos_embed" in wanted:
        given["pos_embed"] = _positions(source, target)
    if any(given[name].shape != wanted[name].shape for name in HEAD if name in given):
        given |= {name: wanted[name] for name in HEAD}
    missing = sorted(wanted.keys() - given.keys())
    misfit = [name for name in given if given[name].shape != wanted[name].shape]
    if missing or misfit:
        names = ", ".join([*missing, *misfit][:3])
        raise CheckpointError(f"the weights do not fit the model: {names}")
    target.load_state_dict(given)
    return sorted(given)


def fit_positions(patches: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring learned positions to another grid: bicubic, as the released dense models do.

    Args:
        patches: (rows, columns, dim).
        size: (rows, columns) wanted.

    Returns:
        (rows, columns, dim).

    Examples:
        >>> fit_positions(torch.ones(14, 14, 8), (32, 32)).shape
        torch.Size([32, 32, 8])
    """
    if tuple(patches.shape[:2]) == size:
        return patches
    resized = F.interpolate(patches.permute(2, 0, 1)[None], size, mode="bicubic")
    return resized[0].permute(1, 2, 0)


def _positions(source: AudioModel, target: AudioModel) -> Tensor:
    """The source's positions on the target's grid, in the order of its sequence.

    In a Vim the class token's row stands where the token does, in the middle of the table: it is
    that row that has to go, not the first one, if the target has no class token.
    """
    classes, patches = _by_kind(source)
    table = fit_positions(patches, target.config.grid)  # type: ignore[attr-defined]
    if isinstance(target, Vim):
        if not target.config.n_class_tokens:
            classes = classes[:0]
        layout = Layout(target.config.grid, "frequency", target.config.class_token, None)
        return layout.join(table[None], classes[None])
    return torch.cat([classes, table.flatten(0, 1)])[None]


def _by_kind(model: AudioModel) -> tuple[Tensor, Tensor]:
    """The positions of the class tokens (n, dim), and of the patches (rows, columns, dim)."""
    weights: Mapping[str, Tensor] = model.state_dict()
    table = weights.get("pos_embed")
    if table is None:
        raise CheckpointError("the weights have no learned positions; the model has some")
    if isinstance(model, Vim):
        layout = Layout(model.config.grid, "frequency", model.config.class_token, None)
        return layout.class_tokens(table)[0], layout.split(table)[0]
    if isinstance(model, AST):
        n = model.config.n_class_tokens
        return table[0, :n], table[0, n:].unflatten(0, model.config.grid)
    raise CheckpointError(f"positions of {model.config.family} are not known here")
