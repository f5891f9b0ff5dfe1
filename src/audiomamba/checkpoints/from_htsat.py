"""HTS-AT's released weights: their keys, and the model's settings read off the tensors' shapes.

The files hold much that can be computed: the front end's matrices, the index tables of the relative
positions, the masks of the shifted windows; and with a token-semantic head, a linear layer that the
authors' model has but does not use.

Source: Chen et al. 2022, released code, class HTSAT_Swin_Transformer.
"""

from collections.abc import Mapping
from functools import partial
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
from audiomamba.checkpoints.state import blocks_per_stage, rename_by
from audiomamba.models import HTSATConfig

__all__ = ["ORIGIN", "ORIGIN_LINEAR", "RENAMED", "config_of"]

RENAMED: dict[str, str] = {r"^tscam_conv\.": "head.conv."}
COMPUTED = (
    *STORED_FRONT_END,
    r"layers\.\d+\.blocks\.\d+\.attn\.relative_position_index",
    r"layers\.\d+\.blocks\.\d+\.attn_mask",
)
UNUSED_HEAD = r"head\.(weight|bias)"


def config_of(state: Mapping[str, Tensor], **known: Any) -> HTSATConfig:
    """Read HTS-AT's settings off its tensors.

    What shapes do not tell is taken from `known`, else as in the released models: 1001 frames, an
    image of 256 rows, patches that do not overlap.

    Args:
        state: tensors by the keys of models.HTSAT.
        known: fields of HTSATConfig that are known to have these values.

    Returns:
        The settings.

    Raises:
        KeyError: a tensor that is needed for it is missing.
    """
    depths = blocks_per_stage(state, r"layers\.(\d+)\.blocks\.(\d+)\.")
    tables = [
        state[f"layers.{stage}.blocks.0.attn.relative_position_bias_table"].shape
        for stage in range(len(depths))
    ]
    scoring = "head.conv.weight" if "head.conv.weight" in state else "head.weight"
    kernel = state["patch_embed.proj.weight"].shape
    fields: dict[str, Any] = {
        "n_classes": state[scoring].shape[0],
        "n_mels": state["bn0.weight"].shape[0],
        "head": "linear" if scoring == "head.weight" else "token-semantic",
        "patch": (kernel[2], kernel[3]),
        "dim": kernel[0],
        "depths": depths,
        "n_heads": tuple(heads for _, heads in tables),
        "window": (isqrt(tables[0][0]) + 1) // 2,
    }
    return HTSATConfig(**fields | known)


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
    rename=partial(rename_by, RENAMED),
    config_of=config_of,
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
    rename=partial(rename_by, RENAMED),
    config_of=config_of,
    front_end=FRONT_END,
    unused=COMPUTED,
)
