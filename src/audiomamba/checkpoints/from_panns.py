"""The weights of PANNs' CNN14: their keys, and the model's settings read off the tensors' shapes.

The files hold their front end as tensors: the Fourier transform's and the mel bands' matrices. They
are not used; the mel bands tell whether the front end is the one that this package would take.

Source: Kong et al. 2020, released code, classes Cnn14 and Cnn14_DecisionLevelMax.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiomamba.audio import FrontEnd
from audiomamba.audio.log_mel import mel_filters
from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import State, build, rename_keys
from audiomamba.errors import CheckpointError
from audiomamba.models import AudioModel, CNN14Config

__all__ = [
    "FRONT_END",
    "MEL_BANDS",
    "ORIGIN",
    "STORED_FRONT_END",
    "build_cnn14",
    "config_of",
    "has_front_end",
    "rename",
]

FRONT_END = FrontEnd(
    kind="decibel",
    sample_rate=32_000,
    n_mels=64,
    frame_length_ms=32.0,
    low_hz=50.0,
    high_hz=14_000.0,
    n_frames=1001,
    mean=None,
    std=None,
)
MEL_BANDS = "logmel_extractor.melW"
STORED_FRONT_END = (r"spectrogram_extractor\.stft\.conv_(real|imag)\.weight", re.escape(MEL_BANDS))

# The start of a key, and what it is here.
RENAMED: dict[str, str] = {
    "conv_block1.": "blocks.0.",
    "conv_block2.": "blocks.1.",
    "conv_block3.": "blocks.2.",
    "conv_block4.": "blocks.3.",
    "conv_block5.": "blocks.4.",
    "conv_block6.": "blocks.5.",
    "fc_audioset.": "head.",
}


def rename(state: Mapping[str, Tensor]) -> State:
    """Give CNN14's released tensors the names that they have here.

    Args:
        state: tensors by released key.

    Returns:
        Tensors by the keys of models.CNN14.

    Raises:
        CheckpointError: two keys are names of the same tensor.
    """
    return rename_keys(state, _renamed)


def _renamed(key: str) -> str:
    for start, name in RENAMED.items():
        if key.startswith(start):
            return name + key.removeprefix(start)
    return key


def config_of(state: Mapping[str, Tensor], **known: Any) -> CNN14Config:
    """Read CNN14's settings off its tensors.

    What shapes do not tell is taken from `known`, else as in the model without segments: 1001
    frames, pool "clip".

    Args:
        state: tensors by released key.
        known: fields of CNN14Config that are known to have these values.

    Returns:
        The settings.

    Raises:
        CheckpointError: a tensor that is needed for it is missing.
    """
    try:
        fields: dict[str, Any] = {
            "n_classes": state["fc_audioset.weight"].shape[0],
            "n_mels": state["bn0.weight"].shape[0],
            "widths": tuple(state[f"conv_block{i}.bn2.weight"].shape[0] for i in range(1, 7)),
        }
    except KeyError as error:
        raise CheckpointError(f"CNN14's tensor {error} is missing") from error
    return CNN14Config(**fields | known)


def build_cnn14(state: Mapping[str, Tensor], source: str, **known: Any) -> AudioModel:
    """Make a CNN14 from its released tensors, every one of them used.

    The two released forms have the same tensors. They differ in their files' names, of which that
    of the one with segments holds "DecisionLevel".

    Args:
        state: tensors by released key, without those of the front end.
        source: the file's name; what to call the tensors in messages.
        known: fields of CNN14Config that shapes do not tell, as for config_of.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: a tensor is missing or unknown, or has another shape than the rest says.
    """
    pool = "segments" if "DecisionLevel" in Path(source).name else "clip"
    return build(config_of(state, **{"pool": pool} | known), rename(state), source)


def has_front_end(state: Mapping[str, Tensor], front_end: FrontEnd) -> bool:
    """Whether a file was made for a front end, by the matrix of its mel bands.

    Args:
        state: tensors by released key.
        front_end: the front end, of kind "decibel".

    Returns:
        False if the matrix is a bank of other filters. One that is no filter bank at all (filters
        are not negative, and 0 outside of their bands) says nothing.
    """
    stored = state[MEL_BANDS].float()
    expected = mel_filters(front_end, torch.device("cpu"), torch.float32)
    if stored.shape != expected.shape:
        return False
    is_bank = bool((stored >= 0).all()) and 0 < stored.count_nonzero() < stored.numel() // 2
    return not is_bank or torch.allclose(stored, expected, atol=1e-6)


ORIGIN = Origin(
    name="PANNs CNN14",
    license="MIT",
    marks=(
        "bn0.weight",
        "conv_block1.conv1.weight",
        "conv_block6.conv2.weight",
        "fc_audioset.weight",
        MEL_BANDS,
    ),
    fits=lambda state: has_front_end(state, FRONT_END),
    build=build_cnn14,
    front_end=FRONT_END,
    unused=STORED_FRONT_END,
)
