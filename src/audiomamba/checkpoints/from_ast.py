"""AST's and DeiT's released weights: their keys, and the settings read off the tensors' shapes.

Three forms are known: AST as Gong et al. and the authors of AuM save it, AST as the Hugging Face
library saves it (query, key and value apart), and DeiT as timm saves it, whose names are those of
models.AST already.

Source: the released code of Gong et al. and of Erol et al., class ASTModel; Hugging Face's class
ASTForAudioClassification; timm's class VisionTransformer.
"""

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from audiomamba.audio import FrontEnd
from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import State, n_blocks, rename_by
from audiomamba.errors import CheckpointError
from audiomamba.models import ASTConfig

__all__ = [
    "ORIGIN",
    "ORIGIN_DEIT",
    "ORIGIN_HUGGING_FACE",
    "RENAMED",
    "RENAMED_HUGGING_FACE",
    "config_of",
    "rename",
]

# Parts of released names and what they are here, in the order in which they are looked for.
RENAMED: dict[str, str] = {
    r"^v\.": "",
    r"^mlp_head\.0\.": "head_norm.",
    r"^mlp_head\.1\.": "head.",
}
RENAMED_HUGGING_FACE: dict[str, str] = {
    r"^audio_spectrogram_transformer\.": "",
    r"^embeddings\.cls_token$": "cls_token",
    r"^embeddings\.distillation_token$": "dist_token",
    r"^embeddings\.position_embeddings$": "pos_embed",
    r"^embeddings\.patch_embeddings\.projection\.": "patch_embed.proj.",
    r"^encoder\.layer\.": "blocks.",
    r"\.attention\.attention\.": ".attn.",
    r"\.attention\.output\.dense\.": ".attn.proj.",
    r"\.layernorm_before\.": ".norm1.",
    r"\.layernorm_after\.": ".norm2.",
    r"\.intermediate\.dense\.": ".mlp.fc1.",
    r"\.output\.dense\.": ".mlp.fc2.",
    r"^layernorm\.": "norm.",
    r"^classifier\.layernorm\.": "head_norm.",
    r"^classifier\.dense\.": "head.",
}

_QUERY = re.compile(r"(blocks\.\d+\.attn\.)query\.(weight|bias)")
HEAD_CHANNELS = 64
STRIDES = (16, 10, 12, 14)
WHOLE_FRAMES = 128  # the released models read a multiple of so many frames


def rename(state: Mapping[str, Tensor]) -> State:
    """Give released tensors the names that they have here, and join query, key and value.

    Args:
        state: tensors by released key, of any of the three forms.

    Returns:
        Tensors by the keys of models.AST.

    Raises:
        CheckpointError: two tensors would get the same name, or a key or value is missing.
    """
    hugging_face = any(key.startswith("audio_spectrogram_transformer.") for key in state)
    return _joined(rename_by(RENAMED_HUGGING_FACE if hugging_face else RENAMED, state))


def _joined(state: State) -> State:
    """Query, key and value of each block as one tensor."""
    for found in [match for key in state if (match := _QUERY.fullmatch(key))]:
        names = [f"{found[1]}{kind}.{found[2]}" for kind in ("query", "key", "value")]
        missing = [name for name in names if name not in state]
        if missing:
            raise CheckpointError(f"{names[0]} is there, but {missing[0]} is missing")
        state[f"{found[1]}qkv.{found[2]}"] = torch.cat([state.pop(name) for name in names])
    return state


def config_of(state: Mapping[str, Tensor], **known: Any) -> ASTConfig:
    """Read AST's settings off its tensors.

    What shapes do not tell is taken from `known`, else as in the released models: 64 channels per
    head; for sound 128 mel bands and the stride that gives a multiple of 128 frames; for images a
    square, and patches side by side.

    Args:
        state: tensors by the keys of models.AST.
        known: fields of ASTConfig that are known to have these values.

    Returns:
        The settings.

    Raises:
        KeyError: a tensor that is needed for it is missing.
        CheckpointError: no known input size gives the number of positions.
    """
    dim = state["norm.weight"].shape[0]
    with_distillation = "dist_token" in state
    n_patches = state["pos_embed"].shape[1] - 1 - with_distillation
    fields: dict[str, Any] = {
        "n_classes": state["head.weight"].shape[0],
        "n_channels": state["patch_embed.proj.weight"].shape[1],
        "patch": tuple(state["patch_embed.proj.weight"].shape[2:]),
        "dim": dim,
        "depth": n_blocks(state, r"blocks\.(\d+)\."),
        "n_heads": max(dim // HEAD_CHANNELS, 1),
        "class_tokens": "with-distillation" if with_distillation else "one",
        "head_norm": "head_norm.weight" in state,
    } | known
    if not {"n_frames", "stride"} <= fields.keys():
        if fields["n_channels"] == 1:
            size = _sound_size(n_patches, fields["patch"], fields.get("n_mels", 128))
        else:
            size = _image_size(n_patches, fields["patch"])
        fields = size | fields
    return ASTConfig(**fields)


def _sound_size(n_patches: int, patch: tuple[int, int], n_mels: int) -> dict[str, Any]:
    """The input size and the stride of patches that give so many of them."""
    for stride in STRIDES:
        rows = (n_mels - patch[0]) // stride + 1
        shortest = (n_patches // rows - 1) * stride + patch[1]
        n_frames = -(-shortest // WHOLE_FRAMES) * WHOLE_FRAMES
        if n_patches % rows == 0 and n_frames < shortest + stride:
            return {"n_mels": n_mels, "n_frames": n_frames, "stride": (stride, stride)}
    raise CheckpointError(
        f"pos_embed has rows for {n_patches} patches, which no stride of "
        f"{', '.join(map(str, STRIDES))} gives for {n_mels} mel bands and a multiple of "
        f"{WHOLE_FRAMES} frames"
    )


def _image_size(n_patches: int, patch: tuple[int, int]) -> dict[str, Any]:
    side = isqrt(n_patches)
    if side * side != n_patches:
        raise CheckpointError(
            f"pos_embed has rows for {n_patches} patches; expected a square number"
        )
    return {"n_mels": side * patch[0], "n_frames": side * patch[1], "stride": patch}


ORIGIN = Origin(
    name="AST",
    license="BSD-3-Clause",
    marks=("mlp_head.0.weight", "mlp_head.1.weight", "v.cls_token", "v.norm.weight", "v.pos_embed"),
    rename=rename,
    config_of=config_of,
    front_end=FrontEnd(),
    # The image classifiers of the vision transformer inside.
    unused=(r"v\.head\.(weight|bias)", r"v\.head_dist\.(weight|bias)"),
)
ORIGIN_HUGGING_FACE = Origin(
    name="AST (Hugging Face)",
    license="BSD-3-Clause",
    marks=(
        "audio_spectrogram_transformer.embeddings.cls_token",
        "audio_spectrogram_transformer.embeddings.position_embeddings",
        "audio_spectrogram_transformer.layernorm.weight",
        "classifier.dense.weight",
        "classifier.layernorm.weight",
    ),
    rename=rename,
    config_of=config_of,
    front_end=FrontEnd(),
)
ORIGIN_DEIT = Origin(
    name="DeiT (timm)",
    license="Apache-2.0",
    marks=(
        "blocks.0.attn.qkv.weight",
        "cls_token",
        "head.weight",
        "norm.weight",
        "patch_embed.proj.weight",
        "pos_embed",
    ),
    fits=lambda state: state["patch_embed.proj.weight"].shape[1] == 3,
    rename=rename,
    config_of=config_of,
    front_end=None,
)
