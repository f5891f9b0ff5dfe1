"""AuM's released weights: their keys, and the model's settings read off the tensors' shapes.

Source: the authors' released code, class AudioMamba.
"""

from collections.abc import Mapping
from functools import partial
from math import ceil
from typing import Any

from torch import Tensor

from audiomamba.audio import FrontEnd
from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import n_blocks, rename_by
from audiomamba.models import AuMConfig, SSMConfig

__all__ = [
    "ORIGIN",
    "RENAMED",
    "class_token_of",
    "config_of",
    "depth_of",
    "direction_of",
    "n_class_tokens",
    "ssm_of",
]

RENAMED: dict[str, str] = {r"^pos_embed\.pos_embed$": "pos_embed"}

_LAYER = r"layers\.(\d+)\."
_MIXER = "layers.0.mixer."


def config_of(state: Mapping[str, Tensor], **known: Any) -> AuMConfig:
    """Read AuM's settings off its tensors.

    What shapes do not tell is taken from `known`, else as in the released models: 128 mel bands,
    patches that do not overlap, the class token in the middle, the sum of two branches halved.

    Args:
        state: tensors by the keys of models.AuM.
        known: fields of AuMConfig that are known to have these values.

    Returns:
        The settings.

    Raises:
        KeyError: a tensor that is needed for it is missing.
    """
    fields: dict[str, Any] = {
        "n_classes": state["head.weight"].shape[0],
        "patch": tuple(state["patch_embed.proj.weight"].shape[2:]),
        "dim": state["norm_f.weight"].shape[0],
        "depth": depth_of(state),
        "direction": direction_of(state),
        "class_token": class_token_of(state),
        "positions": "absolute" if "pos_embed" in state else "none",
        "ssm": known.get("ssm") or ssm_of(state),
    } | known
    if "n_frames" not in fields and fields["positions"] == "absolute":
        rows = fields.get("n_mels", 128) // fields["patch"][0]
        n_patches = state["pos_embed"].shape[1] - n_class_tokens(fields["class_token"])
        fields["n_frames"] = n_patches // max(rows, 1) * fields["patch"][1]
    return AuMConfig(**fields)


def depth_of(state: Mapping[str, Tensor]) -> int:
    """The number of Mamba blocks."""
    return n_blocks(state, _LAYER)


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
    """Where the class token stands; a single one is taken to be in the middle."""
    if "cls_token_head" in state:
        return "double"
    return "middle" if "cls_token" in state else "none"


def n_class_tokens(class_token: str) -> int:
    """How many class tokens there are, by where they stand."""
    return {"none": 0, "double": 2}.get(class_token, 1)


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
    rename=partial(rename_by, RENAMED),
    config_of=config_of,
    front_end=FrontEnd(),
)
