"""Vision Mamba's released weights: their keys, and the settings read off the tensors' shapes.

The names are those of models.Vim already. Files of models with rotary positions hold their tables
too; those say how far the positions run and are then left out, as they are computed here.

Source: the authors' released code, class VisionMamba.
"""

from collections.abc import Mapping
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from audiomamba.checkpoints.from_aum import (
    class_token_of,
    depth_of,
    direction_of,
    n_class_tokens,
    ssm_of,
)
from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import State
from audiomamba.errors import CheckpointError
from audiomamba.models import RotaryPositions, VimConfig
from audiomamba.models.vim import rotary_angles

__all__ = ["ORIGIN", "ROTARY", "config_of", "without_rotary"]

ROTARY = ("rope.freqs_cos", "rope.freqs_sin")
IMAGE_SIZE = 224


def config_of(state: Mapping[str, Tensor], **known: Any) -> VimConfig:
    """Read Vision Mamba's settings off its tensors.

    What shapes do not tell is taken from `known`, else as in the released models: square images, of
    224 by 224 where the number of patches allows it, a class token in the middle, the sum of two
    branches halved, rotary positions on the last block's output only.

    Args:
        state: tensors by the keys of models.Vim, and perhaps the tables of rotary positions.
        known: fields of VimConfig that are known to have these values.

    Returns:
        The settings.

    Raises:
        KeyError: a tensor that is needed for it is missing.
        CheckpointError: the patches make no square.
    """
    fields: dict[str, Any] = {
        "n_classes": state["head.weight"].shape[0],
        "n_channels": state["patch_embed.proj.weight"].shape[1],
        "patch": tuple(state["patch_embed.proj.weight"].shape[2:]),
        "dim": state["norm_f.weight"].shape[0],
        "depth": depth_of(state),
        "direction": direction_of(state),
        "class_token": class_token_of(state),
        "norm": "layer" if "norm_f.bias" in state else "rms",
        "ssm": known.get("ssm") or ssm_of(state),
    } | known
    if "pos_embed" in state and "n_frames" not in known:
        n_patches = state["pos_embed"].shape[1] - n_class_tokens(fields["class_token"])
        fields = _square_image(n_patches, fields["patch"][0]) | fields
    if "positions" not in known:
        fields["positions"] = _positions_of(state)
    return VimConfig(**fields)


def without_rotary(state: State, config: VimConfig) -> State:
    """Take out the tables of rotary positions, which the model computes itself.

    Args:
        state: tensors by released key.
        config: the model's settings.

    Returns:
        The other tensors.

    Raises:
        CheckpointError: a table is another than this package computes.
    """
    if not isinstance(config.positions, RotaryPositions):
        return state
    _check_rotary(state, config)
    return {key: value for key, value in state.items() if key not in ROTARY}


def _square_image(n_patches: int, patch: int) -> dict[str, Any]:
    """The size of a square image and the stride that give so many square patches."""
    side = isqrt(n_patches)
    if side * side != n_patches:
        raise CheckpointError(
            f"pos_embed has rows for {n_patches} patches; expected a square number"
        )
    half = patch // 2
    if half > 0 and (IMAGE_SIZE - patch) // half + 1 == side:
        return {"n_mels": IMAGE_SIZE, "n_frames": IMAGE_SIZE, "stride": (half, half)}
    return {"n_mels": side * patch, "n_frames": side * patch}


def _positions_of(state: Mapping[str, Tensor]) -> Any:
    if not any(key in state for key in ROTARY):
        return "absolute" if "pos_embed" in state else "none"
    n_rows, dim = state["rope.freqs_cos"].shape
    side = isqrt(n_rows)
    # The angle of the second column in the slowest pair of channels, which has not turned full.
    last = torch.atan2(state["rope.freqs_sin"][1, -1], state["rope.freqs_cos"][1, -1])
    slowest = rotary_angles((side, side), dim, side, torch.device("cpu"))[1, -1]
    return RotaryPositions(
        side=max(round(float(last / slowest) * side), 1), absolute="pos_embed" in state
    )


def _check_rotary(state: Mapping[str, Tensor], config: VimConfig) -> None:
    if not isinstance(config.positions, RotaryPositions) or ROTARY[0] not in state:
        return
    angles = rotary_angles(
        config.grid, config.dim, config.positions.side, torch.device("cpu")
    ).repeat_interleave(2, dim=1)
    for key, expected in zip(ROTARY, (angles.cos(), angles.sin()), strict=True):
        table = state[key].float()
        if table.shape != expected.shape or not torch.allclose(table, expected, atol=1e-4):
            raise CheckpointError(f"{key} is not the table of {config.positions}")


ORIGIN = Origin(
    name="Vision Mamba",
    license="Apache-2.0",
    marks=(
        "head.weight",
        "layers.0.mixer.A_log",
        "norm_f.weight",
        "patch_embed.proj.weight",
    ),
    fits=lambda state: state["patch_embed.proj.weight"].shape[1] == 3,
    config_of=config_of,
    without_computed=without_rotary,
    front_end=None,
)
