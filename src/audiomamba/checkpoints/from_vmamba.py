"""VMamba's released weights: their keys, and the settings read off the tensors' shapes.

Two forms are known: the files of January 2024, and those since, which name the same tensors by
their place in a sequence. Linear layers of the later ones may be stored as 1 by 1 convolutions.

Source: the authors' released code, class VSSM.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import State, build, rename_keys
from audiomamba.errors import CheckpointError
from audiomamba.models import AudioModel, MLPConfig, SS2DConfig, VMambaConfig

__all__ = [
    "N_DIRECTIONS",
    "ORIGIN",
    "ORIGIN_JANUARY_2024",
    "RENAMED",
    "build_vmamba",
    "config_of",
    "rename",
    "stages_of",
]

# Forms of released keys of either time, and what they are here.
RENAMED: dict[str, str] = {
    r"patch_embed\.(0|proj)\.": "patch_embed.conv1.",
    r"patch_embed\.(2|norm)\.": "patch_embed.norm1.",
    r"patch_embed\.5\.": "patch_embed.conv2.",
    r"patch_embed\.7\.": "patch_embed.norm2.",
    r"(layers\.\d+\.)downsample\.1\.": r"\1downsample.conv.",
    r"(layers\.\d+\.)downsample\.3\.": r"\1downsample.norm.",
    r"(layers\.\d+\.blocks\.\d+\.)ln_1\.": r"\1norm.",
    r"(layers\.\d+\.blocks\.\d+\.)self_attention\.": r"\1op.",
    r"classifier\.": "",
}

_BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.")
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
    return rename_keys({key: _as_linear(key, value) for key, value in state.items()}, _renamed)


def _renamed(key: str) -> str:
    for form, name in RENAMED.items():
        if re.match(form, key):
            return re.sub(form, name, key, count=1)
    return key


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
        CheckpointError: a tensor that is needed for it is missing.
    """
    places = [(int(it[1]), int(it[2])) for it in map(_BLOCK.match, state) if it]
    n_stages = 1 + max((stage for stage, _ in places), default=0)
    depths = tuple(1 + max((j for i, j in places if i == n), default=0) for n in range(n_stages))
    try:
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
    except KeyError as error:
        raise CheckpointError(f"VMamba's tensor {error} is missing") from error
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

    What shapes do not tell is taken from `known`, else as in the released models: images of 224 by
    224, SiLU in SS2D and GELU in the MLP; odd sides of maps are cropped by the models of January
    2024 and padded by those since.

    Args:
        state: tensors by released key.
        known: fields of VMambaConfig that are known to have these values.

    Returns:
        The settings.

    Raises:
        CheckpointError: a tensor that is needed for it is missing.
    """
    own = rename(state)
    fields = stages_of(own)
    if fields.get("downsample") == "merge" and "patch_embed.proj.weight" in state:
        fields["downsample"] = "merge-crop"
    try:
        fields["n_classes"] = own["head.weight"].shape[0]
        _, fields["n_channels"], kernel, _ = own["patch_embed.conv1.weight"].shape
    except KeyError as error:
        raise CheckpointError(f"VMamba's tensor {error} is missing") from error
    fields["patch"] = kernel if fields["patch_embed"] == "patch" else 2 * (kernel - 1)
    fields["patch_norm"] = "patch_embed.norm1.weight" in own
    return VMambaConfig(**fields | {"n_mels": IMAGE_SIZE, "n_frames": IMAGE_SIZE} | known)


def build_vmamba(state: Mapping[str, Tensor], source: str, **known: Any) -> AudioModel:
    """Make a VMamba from its released tensors, every one of them used.

    Args:
        state: tensors by released key.
        source: what to call the tensors in messages.
        known: fields of VMambaConfig that shapes do not tell, as for config_of.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: a tensor is missing or unknown, or has another shape than the rest says.
    """
    return build(config_of(state, **known), rename(state), source)


ORIGIN = Origin(
    name="VMamba",
    license="MIT",
    marks=(
        "classifier.head.weight",
        "layers.0.blocks.0.op.A_logs",
        "patch_embed.0.weight",
    ),
    build=build_vmamba,
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
    build=build_vmamba,
    front_end=None,
)
