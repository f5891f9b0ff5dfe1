"""SSAMBA's released weights: Vim for sound, trained on AudioSet and LibriSpeech without labels.

The files hold the authors' class AMBAModel: Vim under "v.", its patches of one channel without
overlap, its class token before all others; layers of the two objectives, which nothing here needs;
and a head for ImageNet's classes that was never trained. Its authors average the patches' tokens
when they go on, and leave the class token out. The keys are inferred from their code; the files
were not at hand.

Source: Shams et al., "SSAMBA" (2024), released code.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import from_vim
from audiomamba.checkpoints.origin import Origin
from audiomamba.checkpoints.state import rename_by
from audiomamba.models import VimConfig

__all__ = ["ORIGIN", "config_of"]

N_MELS = 128


def config_of(state: Mapping[str, Tensor], **known: Any) -> VimConfig:
    """Read SSAMBA's settings off its tensors.

    Args:
        state: tensors by the keys of models.Vim.
        known: fields of VimConfig that are known to have these values.

    Returns:
        The settings, for 128 mel bands and the class token at the head.

    Raises:
        KeyError: a tensor that is needed for it is missing.
    """
    height, width = state["patch_embed.proj.weight"].shape[2:]
    n_patches = state["pos_embed"].shape[1] - 1
    size = {"n_mels": N_MELS, "n_frames": n_patches // (N_MELS // height) * width}
    return from_vim.config_of(state, **size | {"class_token": "head"} | known)


ORIGIN = Origin(
    name="SSAMBA",
    license="unknown",
    marks=(
        "gpredlayer.0.weight",
        "mask_embed",
        "v.layers.0.mixer.A_log",
        "v.patch_embed.proj.weight",
        "v.pos_embed",
    ),
    rename=partial(rename_by, {r"^v\.": ""}),
    config_of=config_of,
    front_end=FrontEnd(),
    # The two objectives of the training without labels.
    unused=(r"[cg]predlayer\..*", "mask_embed", r"p_input_[ft]dim"),
)
