"""VMamba's released weights: their keys, and the settings read off the tensors' shapes.

Two forms are known: the files of January 2024, and those since, which name the same tensors by
their index in a sequence. Linear layers of the later ones may be stored as 1 by 1 convolutions.

Source: the authors' released code, class VSSM.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import State, blocks_per_stage, rename_by
from audiomamba.models import MLPConfig, SS2DConfig, VMambaConfig

__all__ = [
    "N_DIRECTIONS",
    "ORIGIN",
    "ORIGIN_JANUARY_2024",
    "RENAMED",
    "config_of",
    "config_of_january_2024",
    "rename",
    "stages_of",
]

# Forms of released keys of either time, and what they are here.
RENAMED: dict[str, str] = {
    r"^patch_embed\.(0|proj)\.": "patch_embed.conv1.",
    r"^patch_embed\.(2|norm)\.": "patch_embed.norm1.",
    r"^patch_embed\.5\.": "patch_embed.conv2.",
    r"^patch_embed\.7\.": "patch_embed.norm2.",
    r"^(layers\.\d+\.)downsample\.1\.": r"\1downsample.conv.",
    r"^(layers\.\d+\.)downsample\.3\.": r"\1downsample.norm.",
    r"^(layers\.\d+\.blocks\.\d+\.)ln_1\.": r"\1norm.",
    r"^(layers\.\d+\.blocks\.\d+\.)self_attention\.": r"\1op.",
    r"^classifier\.": "",
}

_LINEAR = re.compile(r"layers\..*(in_proj|out_proj|fc1|fc2)\.weight")
IMAGE_SIZE = 224
N_DIRECTIONS = 4


def rename(state: Mapping[str, Tensor]) -> State:
    """Give VMamba's released tensors the names and shapes that they have here.

    Args:
        state: tensors by released key.

    Returns:
        Tensors by the keys of models.VMamba.

    Raises:
        CheckpointError: two keys are names of the same tensor.
    """
    return rename_by(RENAMED, {key: _as_linear(key, value) for key, value in state.items()})


def _as_linear(key: str, value: Tensor) -> Tensor:
    """The weight of a linear layer, if it is stored as that of a 1 by 1 convolution."""
    is_conv = value.ndim == 4 and value.shape[2:] == (1, 1)
    return value[:, :, 0, 0] if is_conv and _LINEAR.fullmatch(key) else value


def stages_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read the settings of VMamba's stages off their tensors.

    Args:
        state: tensors by the keys of models.VMamba; those outside the stages are not looked at.

    Returns:
        The fields of StagesConfig that shapes tell, by name.

    Raises:
        KeyError: a tensor that is needed for it is missing.
    """
    depths = blocks_per_stage(state, r"layers\.(\d+)\.blocks\.(\d+)\.")
    n_stages = len(depths)
    dims = tuple(state[f"layers.{n}.blocks.0.norm.weight"].shape[0] for n in range(n_stages))
    fields: dict[str, Any] = {
        "patch_embed": "convs" if "patch_embed.conv2.weight" in state else "patch",
        "depths": depths,
        "dims": dims,
        "ss2d": _ss2d_of(state, dims),
        "mlp": _mlp_of(state, dims[0]),
    }
    if "layers.0.downsample.reduction.weight" in state:
        fields["downsample"] = "merge"
    elif n_stages > 1:
        fields["downsample"] = f"conv{state['layers.0.downsample.conv.weight'].shape[2]}"
    return fields


def _ss2d_of(state: Mapping[str, Tensor], dims: tuple[int, ...]) -> SS2DConfig:
    op = "layers.0.blocks.0.op."
    n_scanned, d_state = state[op + "A_logs"].shape
    d_inner = n_scanned // N_DIRECTIONS
    weights = (state[f"layers.{n}.blocks.0.op.dt_projs_weight"] for n in range(len(dims)))
    ranks = [weight.shape[2] for weight in weights]
    conv = state.get(op + "conv2d.weight")
    return SS2DConfig(
        d_state=d_state,
        ratio=d_inner / dims[0],
        dt_rank=None if ranks == [math.ceil(dim / 16) for dim in dims] else ranks[0],
        gate=state[op + "in_proj.weight"].shape[0] == 2 * d_inner,
        d_conv=1 if conv is None else conv.shape[2],
        conv_bias=conv is None or op + "conv2d.bias" in state,
    )


def _mlp_of(state: Mapping[str, Tensor], dim: int) -> MLPConfig | None:
    if "layers.0.blocks.0.mlp.fc1.weight" not in state:
        return None
    hidden = state["layers.0.blocks.0.mlp.fc2.weight"].shape[1]
    gated = state["layers.0.blocks.0.mlp.fc1.weight"].shape[0] == 2 * hidden
    return MLPConfig(kind="gated" if gated else "plain", ratio=hidden / dim)


def config_of(state: Mapping[str, Tensor], **known: Any) -> VMambaConfig:
    """Read VMamba's settings off its tensors.

    What shapes do not tell is taken from `known`, else as in the models that are released today:
    images of 224 by 224, SiLU in SS2D and GELU in the MLP, odd sides of maps padded.

    Args:
        state: tensors by the keys of models.VMamba.
        known: fields of VMambaConfig that are known to have these values.

    Returns:
        The settings.

    Raises:
        KeyError: a tensor that is needed for it is missing.
    """
    fields = stages_of(state)
    _, n_channels, kernel, _ = state["patch_embed.conv1.weight"].shape
    fields |= {
        "n_classes": state["head.weight"].shape[0],
        "n_channels": n_channels,
        "patch": kernel if fields["patch_embed"] == "patch" else 2 * (kernel - 1),
        "patch_norm": "patch_embed.norm1.weight" in state,
        "n_mels": IMAGE_SIZE,
        "n_frames": IMAGE_SIZE,
    }
    return VMambaConfig(**fields | known)


def config_of_january_2024(state: Mapping[str, Tensor], **known: Any) -> VMambaConfig:
    """Read VMamba's settings off tensors of January 2024.

    Args:
        state: as for config_of.
        known: as for config_of.

    Returns:
        The settings; odd sides of maps are cropped, as the code did then.

    Raises:
        KeyError: as for config_of.
    """
    config = config_of(state, **known)
    if config.downsample == "merge" and "downsample" not in known:
        return config.changed(downsample="merge-crop")
    return config


ORIGIN = Origin(
    name="VMamba",
    license="MIT",
    marks=(
        "classifier.head.weight",
        "layers.0.blocks.0.op.A_logs",
        "patch_embed.0.weight",
    ),
    rename=rename,
    config_of=config_of,
    front_end=None,
)
ORIGIN_JANUARY_2024 = Origin(
    name="VMamba (January 2024)",
    license="MIT",
    marks=(
        "head.weight",
        "layers.0.blocks.0.self_attention.A_logs",
        "patch_embed.proj.weight",
    ),
    rename=rename,
    config_of=config_of_january_2024,
    front_end=None,
)
