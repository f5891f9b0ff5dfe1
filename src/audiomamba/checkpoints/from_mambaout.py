"""MambaOut's released weights: their keys, and the settings read off the tensors' shapes.

Two forms are known: the authors' files, and those of timm, the same tensors under other names.

Source: the authors' released code, class MambaOut; timm's class MambaOut.
"""

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import count
from math import ceil
from typing import Any

from torch import Tensor

from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import State, build, rename_keys
from audiomamba.errors import CheckpointError
from audiomamba.models import MODELS, AudioModel, MambaOutConfig

__all__ = ["ORIGIN", "ORIGIN_TIMM", "RENAMED", "build_mambaout", "config_of", "rename"]

# The start of a key of either form, and what it is here.
RENAMED: dict[str, str] = {
    r"head\.fc1\.": "head_fc.",
    r"head\.norm\.": "head_norm.",
    r"head\.fc2\.": "head.",
}
RENAMED_TIMM: dict[str, str] = {
    r"stem\.": "downsample_layers.0.",
    r"stages\.(\d+)\.downsample\.": r"downsample_layers.\1.",
    r"stages\.(\d+)\.blocks\.": r"stages.\1.",
    r"head\.norm\.": "norm.",
    r"head\.pre_logits\.fc\.": "head_fc.",
    r"head\.pre_logits\.norm\.": "head_norm.",
    r"head\.fc\.": "head.",
}

_BLOCK = re.compile(r"stages\.(\d+)\.(\d+)\.")
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
    return rename_keys(state, lambda key: _renamed(key, forms))


def _renamed(key: str, forms: Mapping[str, str]) -> str:
    for form, name in forms.items():
        if re.match(form, key):
            return re.sub(form, name, key, count=1)
    return key


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
        CheckpointError: a tensor that is needed for it is missing.
    """
    places = [(int(it[1]), int(it[2])) for it in map(_BLOCK.match, state) if it]
    n_stages = 1 + max((stage for stage, _ in places), default=0)
    depths = [1 + max((j for i, j in places if i == stage), default=0) for stage in range(n_stages)]
    try:
        gates = [state[f"stages.{stage}.0.fc2.weight"].shape for stage in range(n_stages)]
        convs = [state[f"stages.{stage}.0.conv.weight"].shape for stage in range(n_stages)]
        n_channels = state["downsample_layers.0.conv1.weight"].shape[1]
        n_classes = state["head.weight"].shape[0]
    except KeyError as error:
        raise CheckpointError(f"MambaOut's tensor {error} is missing") from error
    dims = [shape[0] for shape in gates]
    fields: dict[str, Any] = {
        "n_classes": n_classes,
        "n_channels": n_channels,
        "depths": tuple(depths),
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


def build_mambaout(state: Mapping[str, Tensor], source: str, **known: Any) -> AudioModel:
    """Make a MambaOut from its released tensors, every one of them used.

    Args:
        state: tensors by released key.
        source: what to call the tensors in messages.
        known: fields of MambaOutConfig that shapes do not tell, as for config_of.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: a tensor is missing or unknown, or has another shape than the rest says.
    """
    renamed = rename(state)
    return build(config_of(renamed, **known), renamed, source)


ORIGIN = Origin(
    name="MambaOut",
    license="Apache-2.0",
    marks=(
        "downsample_layers.0.conv1.weight",
        "head.fc2.weight",
        "norm.weight",
        "stages.0.0.fc1.weight",
    ),
    build=build_mambaout,
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
    build=build_mambaout,
    front_end=None,
)
