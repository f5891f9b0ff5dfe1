"""What the recipes of AuM's paper have in common: it trains AuM and AST alike on six corpora.

The recipes follow the authors' scripts, with which the paper's Table VI agrees unless a corpus's
recipe says otherwise. Where they are silent here, too: masks hide log-mel values of 0 before
normalization, short clips are padded with the same, nothing limits the gradients, and all weights
decay. torchaudio's masking parameter 48 means widths from 0 to 47. Table VI says 48 kHz for
AudioSet, the authors' loader takes every file at its own rate, and the mean and deviation are those
of AST's clips at 16 kHz: so all corpora but EPIC-SOUNDS are read at 16 kHz.

What is not followed: the released mixers lose part of a gradient (that of the gate in the reverse
direction of Fo-Bi), which these do not; the loss is not made finite where it is not; the tails of
evaluations on several devices do not count twice. The seeds of the paper's three runs are not
known.

The paper trains base models from scratch, small ones from ImageNet weights, and base models from
AudioSet weights. The tiny models and the small ones from scratch are not in it; they have the same
settings.

Source: Erol, Senocak, Feng, Chung, "Audio Mamba: Bidirectional State Space Model for Audio
Representation Learning" (2024), Tables I, III, IV and VI, and released code.
"""

from collections.abc import Mapping
from dataclasses import replace

from audiomamba.data.augment import Augment
from audiomamba.data.corpora import CORPORA
from audiomamba.recipes.schedule import Schedule
from audiomamba.recipes.schema import Recipe

__all__ = ["AUDIOSET_20K", "family"]

SIZES = ("tiny", "small", "base")
# How a recipe's name goes on: the model, changes to its config, and the weights to start from.
FROM_SCRATCH: Mapping[str, tuple[str, dict[str, str], str | None]] = {
    f"{system}-{size}": (f"{system}_{size}", {}, None)
    for system in ("aum", "ast")
    for size in SIZES
}
FROM_IMAGENET: Mapping[str, tuple[str, dict[str, str], str | None]] = {
    "aum-small-from-imagenet": ("aum_small", {"direction": "bi-bi"}, "imagenet/vim-small"),
    "ast-small-from-imagenet": ("ast_small", {}, "imagenet/deit-small"),
}
FROM_AUDIOSET: Mapping[str, tuple[str, dict[str, str], str | None]] = {
    f"{system}-base-from-audioset": (f"{system}_base", {}, f"audioset/{system}-base")
    for system in ("aum", "ast")
}

# AudioSet's balanced part, with which the paper makes its ablations.
AUDIOSET_20K = Recipe(
    name="audioset20k",
    corpus="audioset20k",
    model="aum_base",
    front_end=CORPORA["audioset20k"].front_end,
    measure_statistics=False,
    augment=Augment(
        short_clips="pad",
        mixup=0.5,
        mixup_alpha=10.0,
        n_mel_masks=1,
        mel_mask_bins=47,
        n_frame_masks=1,
        frame_mask_frames=191,
        mask_value="zero",
    ),
    loss="bce",
    epochs=25,
    batch_size=12,
    optimizer="adam",
    learning_rate=5e-5,
    betas=(0.95, 0.999),
    weight_decay=5e-7,
    decayed="all",
    schedule=Schedule(
        kind="multi-step",
        warmup_steps=1000,
        warmup_every=50,
        warmup_from=0.0,
        drop_after=10,
        drop_every=5,
        drop_factor=0.5,
    ),
    clip_norm=None,
    precision="float16",
    best_by="mean_average_precision",
)


def family(base: Recipe, *, from_audioset: bool) -> tuple[Recipe, ...]:
    """Make the recipes of all models that the paper trains on a corpus.

    Args:
        base: the settings of the corpus; its name is the corpus's.
        from_audioset: whether the paper also starts from AudioSet weights.

    Returns:
        One recipe for each model.
    """
    variants = {**FROM_SCRATCH, **FROM_IMAGENET, **(FROM_AUDIOSET if from_audioset else {})}
    return tuple(
        replace(base, name=f"{base.name}/{variant}", model=model, model_changes=changes, init=init)
        for variant, (model, changes, init) in variants.items()
    )
