"""MambaOut's released weights: their keys, and the settings read off the tensors' shapes.

Two forms are known: the authors' files, and those of timm, the same tensors under other names.

Source: the authors' released code, class MambaOut; timm's class MambaOut.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import count
from math import ceil
from typing import Any

from torch import Tensor

from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import State, blocks_per_stage, rename_by
from audiomamba.errors import CheckpointError
from audiomamba.models import MODELS, MambaOutConfig

__all__ = ["ORIGIN", "ORIGIN_TIMM", "RENAMED", "config_of", "rename"]

# The start of a key of either form, and what it is here.
RENAMED: dict[str, str] = {
    r"^head\.fc1\.": "head_fc.",
    r"^head\.norm\.": "head_norm.",
    r"^head\.fc2\.": "head.",
}
RENAMED_TIMM: dict[str, str] = {
    r"^stem\.": "downsample_layers.0.",
    r"^stages\.(\d+)\.downsample\.": r"downsample_layers.\1.",
    r"^stages\.(\d+)\.blocks\.": r"stages.\1.",
    r"^head\.norm\.": "norm.",
    r"^head\.pre_logits\.fc\.": "head_fc.",
    r"^head\.pre_logits\.norm\.": "head_norm.",
    r"^head\.fc\.": "head.",
}

IMAGE_SIZE = 224


def rename(state: Mapping[str, Tensor]) -> State:
    """Give MambaOut's released tensors the names that they have here.

    Args:
        state: tensors by released key, the authors' or timm's.

    Returns:
        Tensors by the keys of models.MambaOut.

    Raises:
        CheckpointError: two keys are names of the same tensor.
    """
    forms = RENAMED_TIMM if "stem.conv1.weight" in state else RENAMED
    return rename_by(forms, state)


def config_of(state: Mapping[str, Tensor], **known: Any) -> MambaOutConfig:
    """Read MambaOut's settings off its tensors.

    What shapes do not tell is taken from `known`, else as in the released models: images of 224 by
    224, and the drop path of the published model of this size.

    Args:
        state: tensors by the keys of models.MambaOut.
        known: fields of MambaOutConfig that are known to have these values.

    Returns:
        The settings.

    Raises:
        KeyError: a tensor that is needed for it is missing.
        CheckpointError: the stages are not as wide as those of one model.
    """
    depths = blocks_per_stage(state, r"stages\.(\d+)\.(\d+)\.")
    gates = [state[f"stages.{stage}.0.fc2.weight"].shape for stage in range(len(depths))]
    convs = [state[f"stages.{stage}.0.conv.weight"].shape for stage in range(len(depths))]
    n_channels = state["downsample_layers.0.conv1.weight"].shape[1]
    dims = [shape[0] for shape in gates]
    fields: dict[str, Any] = {
        "n_classes": state["head.weight"].shape[0],
        "n_channels": n_channels,
        "depths": depths,
        "dims": tuple(dims),
        "expand_ratio": _ratio((shape[1] for shape in gates), dims),
        "conv_ratio": _ratio((shape[0] for shape in convs), dims),
        "kernel": convs[0][2],
    }
    rates = {
        (it.depths, it.dims): it.drop_path
        for it in MODELS.values()
        if isinstance(it, MambaOutConfig)
    }
    fields["drop_path"] = rates.get((fields["depths"], fields["dims"]), 0.0)
    if n_channels != 1:
        fields |= {"n_mels": IMAGE_SIZE, "n_frames": IMAGE_SIZE}
    return MambaOutConfig(**fields | known)


def _ratio(widths: Iterable[int], dims: Iterable[int]) -> float:
    """The simplest fraction that, times each dim and rounded down, gives each width."""
    pairs = list(zip(widths, dims, strict=True))
    low = max(Fraction(width, dim) for width, dim in pairs)
    high = min(Fraction(width + 1, dim) for width, dim in pairs)
    if low >= high:
        raise CheckpointError("MambaOut's stages do not have the same ratio of inner channels")
    for denominator in count(1):
        fraction = Fraction(ceil(low * denominator), denominator)
        if fraction < high:
            break
    return float(fraction)


ORIGIN = Origin(
    name="MambaOut",
    license="Apache-2.0",
    marks=(
        "downsample_layers.0.conv1.weight",
        "head.fc2.weight",
        "norm.weight",
        "stages.0.0.fc1.weight",
    ),
    rename=rename,
    config_of=config_of,
    front_end=None,
)
ORIGIN_TIMM = Origin(
    name="MambaOut (timm)",
    license="Apache-2.0",
    marks=(
        "head.fc.weight",
        "head.pre_logits.fc.weight",
        "stages.0.blocks.0.fc1.weight",
        "stem.conv1.weight",
        "stem.norm1.weight",
    ),
    rename=rename,
    config_of=config_of,
    front_end=None,
)
