"""HTS-AT's released weights: their keys, and the model's settings read off the tensors' shapes.

The files hold much that can be computed: the front end's matrices, the index tables of the relative
positions, the masks of the shifted windows; and with a token-semantic head, a linear layer that the
authors' model has but does not use.

Source: Chen et al. 2022, released code, class HTSAT_Swin_Transformer.
"""

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

from torch import Tensor

from audiomamba.checkpoints.from_panns import (
    FRONT_END,
    MEL_BANDS,
    STORED_FRONT_END,
    has_front_end,
)
from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import State, build, rename_keys
from audiomamba.errors import CheckpointError
from audiomamba.models import AudioModel, HTSATConfig

__all__ = ["ORIGIN", "ORIGIN_LINEAR", "RENAMED", "build_htsat", "config_of", "rename"]

RENAMED: dict[str, str] = {
    "tscam_conv.weight": "head.conv.weight",
    "tscam_conv.bias": "head.conv.bias",
}
COMPUTED = (
    *STORED_FRONT_END,
    r"layers\.\d+\.blocks\.\d+\.attn\.relative_position_index",
    r"layers\.\d+\.blocks\.\d+\.attn_mask",
)
UNUSED_HEAD = r"head\.(weight|bias)"

_BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.")


def rename(state: Mapping[str, Tensor]) -> State:
    """Give HTS-AT's released tensors the names that they have here.

    Args:
        state: tensors by released key.

    Returns:
        Tensors by the keys of models.HTSAT.

    Raises:
        CheckpointError: two keys are names of the same tensor.
    """
    return rename_keys(state, lambda key: RENAMED.get(key, key))


def config_of(state: Mapping[str, Tensor], **known: Any) -> HTSATConfig:
    """Read HTS-AT's settings off its tensors.

    What shapes do not tell is taken from `known`, else as in the released models: 1001 frames, an
    image of 256 rows, patches that do not overlap.

    Args:
        state: tensors by released key.
        known: fields of HTSATConfig that are known to have these values.

    Returns:
        The settings.

    Raises:
        CheckpointError: a tensor that is needed for it is missing.
    """
    places = [(int(found[1]), int(found[2])) for found in map(_BLOCK.match, state) if found]
    n_stages = 1 + max((stage for stage, _ in places), default=0)
    depths = [1 + max((j for i, j in places if i == stage), default=0) for stage in range(n_stages)]
    try:
        tables = [
            state[f"layers.{stage}.blocks.0.attn.relative_position_bias_table"].shape
            for stage in range(n_stages)
        ]
        scoring = "tscam_conv.weight" if "tscam_conv.weight" in state else "head.weight"
        kernel = state["patch_embed.proj.weight"].shape
        fields: dict[str, Any] = {
            "n_classes": state[scoring].shape[0],
            "n_mels": state["bn0.weight"].shape[0],
            "head": "linear" if scoring == "head.weight" else "token-semantic",
            "patch": (kernel[2], kernel[3]),
            "dim": kernel[0],
            "depths": tuple(depths),
            "n_heads": tuple(heads for _, heads in tables),
            "window": (isqrt(tables[0][0]) + 1) // 2,
        }
    except KeyError as error:
        raise CheckpointError(f"HTS-AT's tensor {error} is missing") from error
    return HTSATConfig(**fields | known)


def build_htsat(state: Mapping[str, Tensor], source: str, **known: Any) -> AudioModel:
    """Make an HTS-AT from its released tensors, every one of them used.

    Args:
        state: tensors by released key, without those that can be computed or are not used.
        source: what to call the tensors in messages.
        known: fields of HTSATConfig that shapes do not tell, as for config_of.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: a tensor is missing or unknown, or has another shape than the rest says.
    """
    return build(config_of(state, **known), rename(state), source)


ORIGIN = Origin(
    name="HTS-AT",
    license="MIT",
    marks=(
        "bn0.weight",
        "layers.0.blocks.0.attn.relative_position_bias_table",
        "patch_embed.norm.weight",
        "tscam_conv.weight",
        MEL_BANDS,
    ),
    fits=lambda state: has_front_end(state, FRONT_END),
    build=build_htsat,
    front_end=FRONT_END,
    unused=(*COMPUTED, UNUSED_HEAD),
)
ORIGIN_LINEAR = Origin(
    name="HTS-AT without the token-semantic head",
    license="MIT",
    marks=(
        "bn0.weight",
        "head.weight",
        "layers.0.blocks.0.attn.relative_position_bias_table",
        "patch_embed.norm.weight",
        MEL_BANDS,
    ),
    fits=lambda state: "tscam_conv.weight" not in state and has_front_end(state, FRONT_END),
    build=build_htsat,
    front_end=FRONT_END,
    unused=COMPUTED,
)
