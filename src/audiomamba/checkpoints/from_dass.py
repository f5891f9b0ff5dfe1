"""DASS's released weights: VMamba for sound, under two sets of keys.

The authors' own files hold their class DASS: a VSSM of VMamba's code under "v.", its first
convolution for one channel. Their files for the transformers library name the same tensors
otherwise and store grouped projections flat. Both sets are inferred from the authors' code, which
makes, saves and converts them; the files themselves were not at hand.

The input is AuM's and AST's: 128 mel bands, normalized with AudioSet's statistics.

Source: Bhati et al., "DASS" (2024), released code.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import from_vmamba
from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import State, rename_by
from audiomamba.models import VMambaConfig

__all__ = ["ORIGIN", "ORIGIN_TRANSFORMERS", "RENAMED_TRANSFORMERS", "config_of", "rename"]

# Forms of the transformers library's keys, and what VMamba's code calls them.
RENAMED_TRANSFORMERS: dict[str, str] = {
    r"^head\.": "classifier.head.",
    r"^dass\.norm\.": "classifier.norm.",
    r"^dass\.patch_embeddings\.projection\.0\.": "patch_embed.0.",
    r"^dass\.patch_embeddings\.projection\.1\.": "patch_embed.2.",
    r"^dass\.patch_embeddings\.projection\.3\.": "patch_embed.5.",
    r"^dass\.patch_embeddings\.projection\.4\.": "patch_embed.7.",
    r"^dass\.(layers\.\d+\.)downsample\.down\.": r"\1downsample.1.",
    r"^dass\.(layers\.\d+\.)downsample\.norm\.": r"\1downsample.3.",
    r"^dass\.(layers\..*op\.)x_proj\.": r"\1x_proj_",
    r"^dass\.(layers\..*op\.)dt_projs\.": r"\1dt_projs_",
    r"^dass\.": "",
}

_FLAT = re.compile(r"dass\.layers\..*op\.(x_proj|dt_projs)\.weight")


def rename(state: Mapping[str, Tensor]) -> State:
    """Give DASS's released tensors the names and shapes that they have here.

    Args:
        state: tensors by released key, of the authors' or of the transformers library's form.

    Returns:
        Tensors by the keys of models.VMamba.

    Raises:
        CheckpointError: two keys are names of the same tensor.
    """
    if any(key.startswith("dass.") for key in state):
        grouped = {key: _in_groups(key, value) for key, value in state.items()}
        return from_vmamba.rename(rename_by(RENAMED_TRANSFORMERS, grouped))
    return from_vmamba.rename(rename_by({r"^v\.": ""}, state))


def _in_groups(key: str, value: Tensor) -> Tensor:
    """The projections of the four directions, one after the other, as four."""
    return value.unflatten(0, (from_vmamba.N_DIRECTIONS, -1)) if _FLAT.fullmatch(key) else value


def config_of(state: Mapping[str, Tensor], **known: Any) -> VMambaConfig:
    """Read DASS's settings off its tensors.

    Args:
        state: tensors by the keys of models.VMamba.
        known: fields of VMambaConfig that shapes do not tell; else 1024 frames of 128 mel bands.

    Returns:
        The settings.

    Raises:
        KeyError: a tensor that is needed for it is missing.
    """
    return from_vmamba.config_of(state, **{"n_mels": 128, "n_frames": 1024} | known)


ORIGIN = Origin(
    name="DASS",
    license="BSD-3-Clause",
    marks=(
        "v.classifier.head.weight",
        "v.layers.0.blocks.0.op.A_logs",
        "v.patch_embed.0.weight",
    ),
    rename=rename,
    config_of=config_of,
    front_end=FrontEnd(),
)
ORIGIN_TRANSFORMERS = Origin(
    name="DASS (transformers)",
    license="BSD-3-Clause",
    marks=(
        "dass.layers.0.blocks.0.op.A_logs",
        "dass.norm.weight",
        "dass.patch_embeddings.projection.0.weight",
        "head.weight",
    ),
    rename=rename,
    config_of=config_of,
    front_end=FrontEnd(),
)
