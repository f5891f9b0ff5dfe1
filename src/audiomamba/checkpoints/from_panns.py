"""The weights of PANNs' CNN14: their keys, and the model's settings read off the tensors' shapes.

The files hold their front end as tensors: the Fourier transform's and the mel bands' matrices. They
are not used; the mel bands tell whether the front end is the one that this package would take.

Source: Kong et al. 2020, released code, classes Cnn14 and Cnn14_DecisionLevelMax.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from audiomamba.audio import FrontEnd
from audiomamba.audio.log_mel import mel_filters
from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import rename_by
from audiomamba.models import CNN14Config

__all__ = [
    "FRONT_END",
    "MEL_BANDS",
    "ORIGIN",
    "STORED_FRONT_END",
    "config_of",
    "fields_of_name",
    "has_front_end",
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

RENAMED: dict[str, str] = {
    **{rf"^conv_block{index + 1}\.": f"blocks.{index}." for index in range(6)},
    r"^fc_audioset\.": "head.",
}


def config_of(state: Mapping[str, Tensor], **known: Any) -> CNN14Config:
    """Read CNN14's settings off its tensors.

    What shapes do not tell is taken from `known`, else as in the model without segments: 1001
    frames, pool "clip".

    Args:
        state: tensors by the keys of models.CNN14.
        known: fields of CNN14Config that are known to have these values.

    Returns:
        The settings.

    Raises:
        KeyError: a tensor that is needed for it is missing.
    """
    fields: dict[str, Any] = {
        "n_classes": state["head.weight"].shape[0],
        "n_mels": state["bn0.weight"].shape[0],
        "widths": tuple(state[f"blocks.{index}.bn2.weight"].shape[0] for index in range(6)),
    }
    return CNN14Config(**fields | known)


def fields_of_name(name: str) -> dict[str, Any]:
    """Tell the two released forms apart, which have the same tensors.

    Args:
        name: the file's; that of the form with segments holds "DecisionLevel".

    Returns:
        Fields of CNN14Config.

    Examples:
        >>> fields_of_name("Cnn14_DecisionLevelMax_mAP=0.385.pth")
        {'pool': 'segments'}
    """
    return {"pool": "segments" if "DecisionLevel" in name else "clip"}


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
    rename=partial(rename_by, RENAMED),
    config_of=config_of,
    fields_of_name=fields_of_name,
    front_end=FRONT_END,
    unused=STORED_FRONT_END,
)
