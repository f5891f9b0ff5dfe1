"""The models, one file per system, all made by name.

MODELS gives the settings of every named model; `create` makes one, with any of its fields changed.
"""

from typing import Any, TypeVar

from audiomamba.errors import UnknownNameError
from audiomamba.models.ast import AST, ASTConfig
from audiomamba.models.audiomamba import AudioMamba, AudioMambaConfig
from audiomamba.models.aum import AuM, AuMConfig
from audiomamba.models.base import AudioModel, HierarchicalModel, ModelConfig
from audiomamba.models.cnn import CNN, CNNConfig
from audiomamba.models.cnn14 import CNN14, CNN14Config
from audiomamba.models.conv_aum import ConvAuM, ConvAuMConfig
from audiomamba.models.efficientat import EfficientAT, EfficientATConfig
from audiomamba.models.htsat import HTSAT, HTSATConfig
from audiomamba.models.layers.mamba import SSMConfig
from audiomamba.models.layers.ss2d import SS2DConfig
from audiomamba.models.layers.stages import MLPConfig
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
    "names",
]

ConfigT = TypeVar("ConfigT", bound=ModelConfig)


def _for_images(config: ConfigT) -> ConfigT:
    """The same settings for the images and classes of ImageNet."""
    return config.changed(n_channels=3, n_mels=224, n_frames=224, n_classes=1000)


def _as_gong(config: ASTConfig) -> ASTConfig:
    """The same settings in the form of AST's own paper: overlapping patches, two class tokens."""
    return config.changed(stride=(10, 10), class_tokens="with-distillation")


# Without gate and with one state, as VMamba's later versions are.
LIGHT_SS2D = SS2DConfig(d_state=1, gate=False, conv_bias=False)
LIGHTEST_SS2D = SS2DConfig(d_state=1, ratio=1.0, gate=False, conv_bias=False)
VMAMBA_V0 = VMambaConfig(downsample="merge", mlp=None, drop_path=0.2)
VMAMBA_S2L5 = VMambaConfig(
    patch_embed="convs",
    depths=(2, 2, 5, 2),
    downsample="conv3",
    ss2d=LIGHT_SS2D,
    drop_path=0.2,
)
VMAMBA_S1L8 = VMAMBA_S2L5.changed(depths=(2, 2, 8, 2), ss2d=LIGHTEST_SS2D)
DASS_SMALL = VMAMBA_S1L8.changed(n_channels=1, n_mels=128, n_frames=1024, n_classes=527)


MODELS: dict[str, ModelConfig] = {
    "ast_base": ASTConfig(dim=768, n_heads=12),
    "ast_gong_base": _as_gong(ASTConfig(dim=768, n_heads=12)),
    "ast_gong_small": _as_gong(ASTConfig(dim=384, n_heads=6)),
    "ast_gong_tiny": _as_gong(ASTConfig(dim=192, n_heads=3)),
    "ast_small": ASTConfig(dim=384, n_heads=6),
    "ast_tiny": ASTConfig(dim=192, n_heads=3),
    "audiomamba_micro": AudioMambaConfig(dims=(56, 112, 224, 448), ss2d=SS2DConfig(ratio=1.0)),
    "audiomamba_nano": AudioMambaConfig(
        depths=(2, 2, 5, 2), dims=(32, 64, 128, 256), ss2d=SS2DConfig(ratio=1.0)
    ),
    "audiomamba_tiny": AudioMambaConfig(),
    "aum_base": AuMConfig(dim=768),
    "aum_small": AuMConfig(dim=384),
    "aum_tiny": AuMConfig(dim=192),
    "cnn14": CNN14Config(),
    "cnn_small": CNNConfig(),
    "conv_aum_tiny": ConvAuMConfig(),
    "dass_medium": DASS_SMALL.changed(depths=(2, 2, 20, 2), drop_path=0.3),
    "dass_small": DASS_SMALL,
    "deit_base": _for_images(ASTConfig(dim=768, n_heads=12, head_norm=False)),
    "deit_small": _for_images(ASTConfig(dim=384, n_heads=6, head_norm=False)),
    "deit_tiny": _for_images(ASTConfig(dim=192, n_heads=3, head_norm=False)),
    "htsat_tiny": HTSATConfig(),
    "mambaout_base": MambaOutConfig(depths=(3, 4, 27, 3), dims=(128, 256, 512, 768), drop_path=0.6),
    "mambaout_base_224": _for_images(
        MambaOutConfig(depths=(3, 4, 27, 3), dims=(128, 256, 512, 768), drop_path=0.6)
    ),
    "mambaout_femto": MambaOutConfig(dims=(48, 96, 192, 288), drop_path=0.025),
    "mambaout_femto_224": _for_images(MambaOutConfig(dims=(48, 96, 192, 288), drop_path=0.025)),
    "mambaout_kobe": MambaOutConfig(depths=(3, 3, 15, 3), dims=(48, 96, 192, 288), drop_path=0.025),
    "mambaout_kobe_224": _for_images(
        MambaOutConfig(depths=(3, 3, 15, 3), dims=(48, 96, 192, 288), drop_path=0.025)
    ),
    "mambaout_small": MambaOutConfig(depths=(3, 4, 27, 3), drop_path=0.4),
    "mambaout_small_224": _for_images(MambaOutConfig(depths=(3, 4, 27, 3), drop_path=0.4)),
    "mambaout_tiny": MambaOutConfig(),
    "mambaout_tiny_224": _for_images(MambaOutConfig()),
    "mn01_as": EfficientATConfig(width=0.1),
    "mn02_as": EfficientATConfig(width=0.2),
    "mn04_as": EfficientATConfig(width=0.4),
    "mn05_as": EfficientATConfig(width=0.5),
    "mn10_as": EfficientATConfig(),
    "mn10_as_fc": EfficientATConfig(head="fully-convolutional"),
    "mn10_as_fc_s2211": EfficientATConfig(head="fully-convolutional", strides=(2, 2, 1, 1)),
    "mn10_as_fc_s2221": EfficientATConfig(head="fully-convolutional", strides=(2, 2, 2, 1)),
    "mn10_as_hop_5": EfficientATConfig(n_frames=2000),
    "mn10_as_hop_15": EfficientATConfig(n_frames=667),
    "mn10_as_hop_20": EfficientATConfig(n_frames=500),
    "mn10_as_hop_25": EfficientATConfig(n_frames=400),
    "mn10_as_mels_40": EfficientATConfig(n_mels=40),
    "mn10_as_mels_64": EfficientATConfig(n_mels=64),
    "mn10_as_mels_256": EfficientATConfig(n_mels=256),
    "mn20_as": EfficientATConfig(width=2.0),
    "mn30_as": EfficientATConfig(width=3.0),
    "mn40_as": EfficientATConfig(width=4.0),
    "mn40_as_ext": EfficientATConfig(width=4.0),
    "mn40_as_no_im_pre": EfficientATConfig(width=4.0),
    "mobile_aum_small": MobileAuMConfig(),
    "vim_base": VimConfig(dim=768),
    "vim_small": VimConfig(dim=384),
    "vim_tiny": VimConfig(dim=192),
    "vmamba_tiny_s1l8": VMAMBA_S1L8,
    "vmamba_tiny_s2l5": VMAMBA_S2L5,
    "vmamba_tiny_v0": VMAMBA_V0,
}

FAMILIES: dict[str, type[ModelConfig]] = {
    config.family: config
    for config in (
        ASTConfig,
        AuMConfig,
        AudioMambaConfig,
        CNN14Config,
        CNNConfig,
        ConvAuMConfig,
        EfficientATConfig,
        HTSATConfig,
        MambaOutConfig,
        MobileAuMConfig,
        VMambaConfig,
        VimConfig,
    )
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
