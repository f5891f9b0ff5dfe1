"""AuM's released weights: their keys, and the model's settings read off the tensors' shapes.

Source: the authors' released code, class AudioMamba.
"""

import re
from collections.abc import Mapping
from math import ceil
from typing import Any

from torch import Tensor

from audiomamba.audio import FrontEnd
from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import State, build, rename_keys
from audiomamba.errors import CheckpointError
from audiomamba.models import AudioModel, AuMConfig, SSMConfig

__all__ = [
    "ORIGIN",
    "RENAMED",
    "build_aum",
    "class_token_of",
    "config_of",
    "depth_of",
    "direction_of",
    "rename",
    "ssm_of",
]

RENAMED: dict[str, str] = {"pos_embed.pos_embed": "pos_embed"}

_LAYER = re.compile(r"layers\.(\d+)\.")
_MIXER = "layers.0.mixer."


def rename(state: Mapping[str, Tensor]) -> State:
    """Give AuM's released tensors the names that they have here.

    Args:
        state: tensors by released key.

    Returns:
        Tensors by the keys of models.AuM.

    Raises:
        CheckpointError: two keys are names of the same tensor.
    """
    return rename_keys(state, lambda key: RENAMED.get(key, key))


def config_of(state: Mapping[str, Tensor], **known: Any) -> AuMConfig:
    """Read AuM's settings off its tensors.

    What shapes do not tell is taken from `known`, else as in the released models: 128 mel bands,
    patches that do not overlap, the class token in the middle, the sum of two branches halved.

    Args:
        state: tensors by released key.
        known: fields of AuMConfig that are known to have these values.

    Returns:
        The settings.

    Raises:
        CheckpointError: a tensor that is needed for it is missing.
    """
    try:
        ssm = known.pop("ssm", None) or ssm_of(state)
        patch = known.pop("patch", None) or tuple(state["patch_embed.proj.weight"].shape[2:])
        fields: dict[str, Any] = {
            "n_classes": state["head.weight"].shape[0],
            "dim": state["norm_f.weight"].shape[0],
            "depth": depth_of(state),
            "direction": direction_of(state),
            "class_token": class_token_of(state),
            "positions": "absolute" if "pos_embed.pos_embed" in state else "none",
        } | known
        if "n_frames" not in fields and fields["positions"] == "absolute":
            rows = fields.get("n_mels", 128) // patch[0]
            n_class_tokens = {"none": 0, "double": 2}.get(fields["class_token"], 1)
            n_patches = state["pos_embed.pos_embed"].shape[1] - n_class_tokens
            fields["n_frames"] = n_patches // max(rows, 1) * patch[1]
    except KeyError as error:
        raise CheckpointError(f"AuM's tensor {error} is missing") from error
    return AuMConfig(patch=patch, ssm=ssm, **fields)


def build_aum(state: Mapping[str, Tensor], source: str, **known: Any) -> AudioModel:
    """Make an AuM from its released tensors, every one of them used.

    Args:
        state: tensors by released key.
        source: what to call the tensors in messages.
        known: fields of AuMConfig that shapes do not tell, as for config_of.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: a tensor is missing or unknown, or has another shape than the rest says.
    """
    return build(config_of(state, **known), rename(state), source)


def depth_of(state: Mapping[str, Tensor]) -> int:
    """The number of Mamba blocks."""
    return 1 + max(int(found[1]) for key in state if (found := _LAYER.match(key)))


def ssm_of(state: Mapping[str, Tensor]) -> SSMConfig:
    """The inner sizes of the mixers; the sum of two branches is taken to be halved."""
    d_inner, d_state = state[_MIXER + "A_log"].shape
    dim = state[_MIXER + "in_proj.weight"].shape[1]
    dt_rank = state[_MIXER + "dt_proj.weight"].shape[1]
    return SSMConfig(
        d_state=d_state,
        d_conv=state[_MIXER + "conv1d.weight"].shape[2],
        expand=d_inner // dim,
        dt_rank=None if dt_rank == ceil(dim / 16) else dt_rank,
    )


def direction_of(state: Mapping[str, Tensor]) -> str:
    """The form of the mixers."""
    if _MIXER + "x_proj_b.weight" in state:
        return "bi-bi"
    return "fo-bi" if _MIXER + "A_b_log" in state else "fo-fo"


def class_token_of(state: Mapping[str, Tensor]) -> str:
    """The place of the class token; a single one is taken to be in the middle."""
    if "cls_token_head" in state:
        return "double"
    return "middle" if "cls_token" in state else "none"


ORIGIN = Origin(
    name="AuM",
    license="BSD-3-Clause",
    marks=(
        "head.weight",
        "layers.0.mixer.A_log",
        "norm_f.weight",
        "patch_embed.proj.weight",
    ),
    fits=lambda state: state["patch_embed.proj.weight"].shape[1] == 1,
    build=build_aum,
    front_end=FrontEnd(),
)
