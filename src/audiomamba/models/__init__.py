"""The models, one file per system, all made by name.

MODELS gives the settings of every named model; `create` makes one, with any of its fields changed.
"""

from typing import Any

from audiomamba.errors import UnknownNameError
from audiomamba.models.ast import AST, ASTConfig
from audiomamba.models.aum import AuM, AuMConfig
from audiomamba.models.base import AudioModel, ModelConfig
from audiomamba.models.cnn import CNN, CNNConfig
from audiomamba.models.conv_aum import ConvAuM, ConvAuMConfig
from audiomamba.models.mamba import SSMConfig

__all__ = [
    "AST",
    "CNN",
    "FAMILIES",
    "MODELS",
    "ASTConfig",
    "AuM",
    "AuMConfig",
    "AudioModel",
    "CNNConfig",
    "ConvAuM",
    "ConvAuMConfig",
    "ModelConfig",
    "SSMConfig",
    "create",
    "names",
]

MODELS: dict[str, ModelConfig] = {
    "ast_base": ASTConfig(dim=768, n_heads=12),
    "ast_small": ASTConfig(dim=384, n_heads=6),
    "ast_tiny": ASTConfig(dim=192, n_heads=3),
    "aum_base": AuMConfig(dim=768),
    "aum_small": AuMConfig(dim=384),
    "aum_tiny": AuMConfig(dim=192),
    "cnn_small": CNNConfig(),
    "conv_aum_tiny": ConvAuMConfig(),
}

FAMILIES: dict[str, type[ModelConfig]] = {
    config.family: config for config in (ASTConfig, AuMConfig, CNNConfig, ConvAuMConfig)
}


def names() -> list[str]:
    """The names of all models, sorted.

    Returns:
        Names that `create` takes.
    """
    return sorted(MODELS)


def create(name: str, **changes: Any) -> AudioModel:
    """Make a model with fresh weights.

    Args:
        name: one of `names()`.
        changes: new values for fields of the model's config, such as n_classes=10 or
            direction="bi-bi".

    Returns:
        The model, in training mode.

    Raises:
        UnknownNameError: no such model or field; the message offers the nearest names.
        ConfigError: a value does not fit its field.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    return MODELS[name].changed(**changes).build()
