"""The weights of EfficientAT: their keys, and the model's settings read off tensors and file names.

The network is fully convolutional up to its last mean. So its tensors tell its width and its head,
but neither the mel bands and the hop of its front end nor its strides: those stand in the names of
the released files, such as mn10_as_hop_15_mAP_463.pt or mn10_as_fc_s2211_mAP_466.pt.

Source: Schmid et al. 2023, released code, class MN.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from audiomamba.audio import FrontEnd
from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import State, rename_keys
from audiomamba.errors import CheckpointError
from audiomamba.models import EfficientATConfig, ModelConfig
from audiomamba.models.efficientat import HIDDEN_CHANNELS
from audiomamba.models.layers.inverted_residual import round_channels
from audiomamba.models.layers.mobilenet import BLOCKS, STEM_CHANNELS

__all__ = [
    "FRONT_END",
    "ORIGIN",
    "ORIGIN_CONVOLUTIONAL",
    "config_of",
    "fields_of_name",
    "front_end_for",
    "rename",
]

FRONT_END = FrontEnd(
    kind="efficientat",
    sample_rate=32_000,
    low_hz=0.0,
    high_hz=15_000.0,
    n_frames=1000,
    mean=-4.5,
    std=2.5,
)
HOPS_MS = {2000: 5.0, 1000: 10.0, 667: 15.0, 500: 20.0, 400: 25.0}  # by the frames of 10 s

LAST = len(BLOCKS) + 1  # index among the released features; the stem is 0, the blocks follow
# Tenths first: of several widths that give the same channels the simplest is meant.
WIDTHS = [n / 10 for n in range(1, 101)] + [n / 100 for n in range(1, 1001)]
_BLOCK = re.compile(r"features\.(\d+)\.block\.(\d+)\.")
_SQUEEZE = "conc_se_layers.0."
_HEADS = {
    "classifier.0.": "head.conv.",
    "classifier.1.": "head.norm.",
    "classifier.2.": "head.hidden.",
    "classifier.5.": "head.output.",
}
_CONV_NORM = {"0.": "conv.", "1.": "norm."}


def rename(state: Mapping[str, Tensor]) -> State:
    """Give EfficientAT's released tensors the names that they have here.

    Args:
        state: tensors by released key.

    Returns:
        Tensors by the keys of models.EfficientAT.

    Raises:
        CheckpointError: two keys are names of the same tensor.
    """
    layers: dict[int, set[int]] = {}
    for key in state:
        if found := _BLOCK.match(key):
            layers.setdefault(int(found[1]), set()).add(int(found[2]))
    return rename_keys(state, lambda key: _renamed(key, layers))


def _renamed(key: str, layers: Mapping[int, set[int]]) -> str:
    for start, name in _HEADS.items():
        if key.startswith(start):
            return name + key.removeprefix(start)
    for start, name in (("features.0.", "stem."), (f"features.{LAST}.", "last.")):
        if key.startswith(start):
            return name + _conv_norm(key.removeprefix(start))
    found = _BLOCK.match(key)
    if not found:
        return key
    block, layer, rest = int(found[1]), int(found[2]), key[found.end() :]
    name = f"blocks.{block - 1}"
    if rest.startswith(_SQUEEZE):
        return f"{name}.squeeze.{rest.removeprefix(_SQUEEZE)}"
    if layer == max(layers[block]):
        return f"{name}.project.{_conv_norm(rest)}"
    squeezes = BLOCKS[block - 1].squeeze if block <= len(BLOCKS) else False
    expands = len(layers[block]) == 3 + squeezes
    conv = "expand" if expands and layer == 0 else "depthwise"
    return f"{name}.{conv}.{_conv_norm(rest)}"


def _conv_norm(rest: str) -> str:
    return _CONV_NORM.get(rest[:2], rest[:2]) + rest[2:]


def config_of(state: Mapping[str, Tensor], **known: Any) -> EfficientATConfig:
    """Read EfficientAT's settings off its tensors.

    What shapes do not tell is taken from `known`, else as in mn10_as: 128 mel bands, 1000 frames,
    all strides 2.

    Args:
        state: tensors by the keys of models.EfficientAT.
        known: fields of EfficientATConfig that are known to have these values.

    Returns:
        The settings; the width is the simplest that gives these shapes.

    Raises:
        KeyError: a tensor that is needed for it is missing.
        CheckpointError: no width gives its shapes.
    """
    mlp = "head.output.weight" in state
    sizes = [("stem.conv.weight", STEM_CHANNELS)]
    for index, block in enumerate(BLOCKS):
        sizes.append((f"blocks.{index}.depthwise.conv.weight", block.n_wide))
        sizes.append((f"blocks.{index}.project.conv.weight", block.n_out))
    if mlp:
        sizes.append(("head.hidden.weight", HIDDEN_CHANNELS))
    found = [(state[key].shape[0], n) for key, n in sizes]
    fits = (w for w in WIDTHS if all(round_channels(w * n) == size for size, n in found))
    if (width := next(fits, None)) is None:
        raise CheckpointError("the layers are not those of a MobileNetV3 of any width")
    fields: dict[str, Any] = {
        "n_classes": state["head.output.weight" if mlp else "head.conv.weight"].shape[0],
        "width": width,
        "head": "mlp" if mlp else "fully-convolutional",
    }
    return EfficientATConfig(**fields | known)


def fields_of_name(name: str) -> dict[str, Any]:
    """Read off a released file's name what its tensors do not tell.

    Args:
        name: such as mn10_as_hop_15_mAP_463.pt; any other says nothing.

    Returns:
        Fields of EfficientATConfig.

    Raises:
        CheckpointError: the name tells of a hop that no released model has.

    Examples:
        >>> fields_of_name("mn10_as_fc_s2211_mAP_466.pt")
        {'strides': (2, 2, 1, 1)}
    """
    fields: dict[str, Any] = {}
    if found := re.search(r"_hop_(\d+)", name):
        frames = {hop_ms: n_frames for n_frames, hop_ms in HOPS_MS.items()}
        if float(found[1]) not in frames:
            known = ", ".join(f"{hop_ms:g}" for hop_ms in frames)
            raise CheckpointError(f"{name} tells of a hop of {found[1]} ms; expected {known}")
        fields["n_frames"] = frames[float(found[1])]
    if found := re.search(r"_mels_(\d+)", name):
        fields["n_mels"] = int(found[1])
    if found := re.search(r"_s([12]{4})(?!\d)", name):
        fields["strides"] = tuple(map(int, found[1]))
    return fields


def front_end_for(front_end: FrontEnd, config: ModelConfig) -> FrontEnd:
    """Give the front end the hop of a model.

    Args:
        front_end: that of 10-ms hops.
        config: the model's settings, of which the frames of 10 s tell the hop.

    Returns:
        The front end.
    """
    return replace(front_end, frame_shift_ms=HOPS_MS.get(config.n_frames, 10.0))


_MARKS = ("features.0.0.weight", "features.1.block.0.0.weight", f"features.{LAST}.0.weight")
ORIGIN = Origin(
    name="EfficientAT",
    license="MIT",
    marks=(*_MARKS, "classifier.2.weight", "classifier.5.weight"),
    rename=rename,
    config_of=config_of,
    fields_of_name=fields_of_name,
    front_end=FRONT_END,
    front_end_for=front_end_for,
)
ORIGIN_CONVOLUTIONAL = replace(
    ORIGIN,
    name="EfficientAT (fully convolutional)",
    marks=(*_MARKS, "classifier.0.weight", "classifier.1.running_mean"),
)
