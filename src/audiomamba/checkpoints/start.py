"""Starting a model from weights of its own or another kind: the transfer for each pair."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from audiomamba.checkpoints.convert import read_released
from audiomamba.checkpoints.format import load
from audiomamba.checkpoints.transfer import (
    TransferReport,
    ast_from_ast,
    ast_from_deit,
    aum_from_aum,
    aum_from_vim,
    mambaout_from_mambaout,
    mobile_aum_from_efficientat,
    same_from_same,
)
from audiomamba.checkpoints.transfer_vmamba import audiomamba_from_vmamba, dass_from_vmamba
from audiomamba.errors import CheckpointError
from audiomamba.models import (
    AST,
    AudioMamba,
    AudioModel,
    AuM,
    EfficientAT,
    MambaOut,
    MobileAuM,
    Vim,
    VMamba,
)

__all__ = ["start_from"]


def start_from(model: AudioModel, source: str | Path) -> TransferReport:
    """Fill a model with what it can use of trained weights; the rest of it stays as it is.

    Args:
        model: the model to fill.
        source: a model folder, or a weight file as its authors released it.

    Returns:
        Where each tensor of the model came from.

    Raises:
        CheckpointError: the weights cannot be read, or do not fit a model of this kind and size.

    Examples:
        >>> import torch
        >>> from audiomamba import models
        >>> torch.save(models.create("vim_tiny", depth=1, dim=32).state_dict(), "vim.pth")
        >>> model = models.create("aum_tiny", depth=1, dim=32, direction="bi-bi", n_classes=3)
        >>> start_from(model, "vim.pth").fresh
        ('head.weight', 'head.bias')
    """
    other = _read(Path(source))
    state = other.state_dict()
    for (ours, theirs), transfer in _TRANSFERS.items():
        if isinstance(model, ours) and isinstance(other, theirs):
            return transfer(model, state, other)
    if type(model) is not type(other):
        raise CheckpointError(
            f"{source} is a {type(other).__name__}, from which no {type(model).__name__} can start"
        )
    return same_from_same(model, state)


def _read(source: Path) -> AudioModel:
    """The model of a folder, or of a released file."""
    if source.is_dir():
        return load(source).model
    checkpoint, _ = read_released(source)
    return checkpoint.model


def _ast(model: AST, state: Mapping[str, Tensor], other: AST) -> TransferReport:
    """AST from an AST for sound, or from a DeiT, which is the same for images."""
    if model.config.n_channels == other.config.n_channels:
        return ast_from_ast(model, state, other.config)
    return ast_from_deit(model, state)


_Transfer = Callable[..., TransferReport]
_TRANSFERS: dict[tuple[type[AudioModel], type[AudioModel]], _Transfer] = {
    (AST, AST): _ast,
    (AuM, AuM): lambda model, state, other: aum_from_aum(model, state, other.config),
    (AuM, Vim): lambda model, state, _: aum_from_vim(model, state),
    (AudioMamba, VMamba): lambda model, state, _: audiomamba_from_vmamba(model, state),
    (MambaOut, MambaOut): lambda model, state, _: mambaout_from_mambaout(model, state),
    (MobileAuM, EfficientAT): lambda model, state, _: mobile_aum_from_efficientat(model, state),
    (VMamba, VMamba): lambda model, state, _: dass_from_vmamba(model, state),
}
