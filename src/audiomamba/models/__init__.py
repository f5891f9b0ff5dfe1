"""The models, one file per system, all made by name.

MODELS gives the settings of every named model, which stand at the end of its file; `create` makes
one, with any of its fields changed.
"""

from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any

from audiomamba.errors import UnknownNameError
from audiomamba.hub import RELEASED
from audiomamba.models import (
    ast,
    audiomamba,
    aum,
    cnn,
    cnn14,
    conv_aum,
    efficientat,
    htsat,
    mambaout,
    mobile_aum,
    vim,
    vmamba,
)
from audiomamba.models.ast import AST, ASTConfig
from audiomamba.models.audiomamba import AudioMamba, AudioMambaConfig
from audiomamba.models.aum import AuM, AuMConfig
from audiomamba.models.base import AudioModel, ModelConfig
from audiomamba.models.cnn import CNN, CNNConfig
from audiomamba.models.cnn14 import CNN14, CNN14Config
from audiomamba.models.conv_aum import ConvAuM, ConvAuMConfig
from audiomamba.models.efficientat import EfficientAT, EfficientATConfig
from audiomamba.models.htsat import HTSAT, HTSATConfig
from audiomamba.models.layers.mamba import SSMConfig
from audiomamba.models.layers.ss2d import SS2DConfig
from audiomamba.models.layers.stages import MLPConfig
from audiomamba.models.layers.vision import HierarchicalModel
from audiomamba.models.mambaout import MambaOut, MambaOutConfig
from audiomamba.models.mobile_aum import MobileAuM, MobileAuMConfig
from audiomamba.models.vim import RotaryPositions, Vim, VimConfig
from audiomamba.models.vmamba import VMamba, VMambaConfig

__all__ = [
    "AST",
    "CNN",
    "CNN14",
    "FAMILIES",
    "HTSAT",
    "MODELS",
    "ASTConfig",
    "AuM",
    "AuMConfig",
    "AudioMamba",
    "AudioMambaConfig",
    "AudioModel",
    "CNN14Config",
    "CNNConfig",
    "ConvAuM",
    "ConvAuMConfig",
    "EfficientAT",
    "EfficientATConfig",
    "HTSATConfig",
    "HierarchicalModel",
    "MLPConfig",
    "MambaOut",
    "MambaOutConfig",
    "MobileAuM",
    "MobileAuMConfig",
    "ModelConfig",
    "RotaryPositions",
    "SS2DConfig",
    "SSMConfig",
    "VMamba",
    "VMambaConfig",
    "Vim",
    "VimConfig",
    "create",
    "list_models",
    "names",
]

_FILES = (
    ast,
    audiomamba,
    aum,
    cnn,
    cnn14,
    conv_aum,
    efficientat,
    htsat,
    mambaout,
    mobile_aum,
    vim,
    vmamba,
)
MODELS: dict[str, ModelConfig] = dict(
    sorted((name, config) for file in _FILES for name, config in file.MODELS.items())
)
FAMILIES: dict[str, type[ModelConfig]] = {it.family: type(it) for it in MODELS.values()}


def names() -> list[str]:
    """The names of all models, sorted.

    Returns:
        Names that `create` takes.

    Examples:
        >>> names()[:3]
        ['ast_base', 'ast_gong_base', 'ast_gong_small']
    """
    return sorted(MODELS)


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """List the models, as timm does.

    Args:
        pattern: names to list, in which * stands for anything.
        pretrained: list released weights instead, which `create` takes with pretrained=True.

    Returns:
        Names, sorted.

    Examples:
        >>> list_models("dass*")
        ['dass_medium', 'dass_small']
        >>> list_models("dass_medium*", pretrained=True)[0]
        'dass_medium_audioset'
    """
    known = [it.name for it in RELEASED] if pretrained else MODELS
    return sorted(name for name in known if fnmatchcase(name, pattern))


def create(name: str, *, pretrained: Any = False, **changes: Any) -> AudioModel:
    """Make a model, with fresh weights or with trained ones.

    Args:
        name: one of `names()`; with pretrained also the name of released weights, an address, a
            file or a folder, as for checkpoints.find.
        pretrained: True to fill it with trained weights, which are fetched if they are not there;
            for the name of a model the first that the registry has.
        changes: new values for fields of the model's config, such as n_classes=10 or
            direction="bi-bi". With other classes than those of trained weights the head is fresh.

    Returns:
        The model, in training mode.

    Raises:
        UnknownNameError: no such model or field; the message offers the nearest names.
        ConfigError: a value does not fit its field.
        CheckpointError: trained weights do not fit the changes; or as for checkpoints.find.

    Examples:
        >>> model = create("aum_tiny", depth=2, n_classes=10, direction="bi-bi")
        >>> model.config.grid  # of patches, for 128 mel bands and 1024 frames
        (8, 64)
        >>> create("general", pretrained=True, n_classes=3).config.n_classes
        3
        >>> create("aum_tinny")
        Traceback (most recent call last):
        audiomamba.errors.UnknownNameError: unknown model 'aum_tinny'; ...
    """
    if pretrained:  # checkpoints are built on the models, so they are reached only here
        trained: AudioModel = import_module("audiomamba.checkpoints").pretrained(name, **changes)
        return trained
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    return MODELS[name].changed(**changes).build()
