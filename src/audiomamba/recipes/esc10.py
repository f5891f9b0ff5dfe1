"""ESC-10: ten kinds of environmental sound, 400 clips of 5 s, five folds, trained from scratch.

The front end's window is 496 frames, 31 patches of 16: a clip of 5 s (498 frames) fills it. Shorter
clips are padded with the log-mel value of digital silence, in which many ESC clips end. Models with
convolutions train on pieces of half that length, AuM and AST, which have learned positions, on
whole clips; all are evaluated on whole clips.

AuM has 12 blocks here, half the paper's depth, so that two processor cores finish five folds in
half an hour; AST has 7, the same number of parameters.
"""

from dataclasses import replace

from audiomamba.audio.front_end import FrontEnd
from audiomamba.data.augment import Augment
from audiomamba.recipes.schema import Recipe

__all__ = ["AST_TINY", "AUM_TINY", "AUM_TINY_MEAN", "CNN_SMALL", "RECIPES", "STARTER"]

STARTER = Recipe(
    name="esc10/starter",
    corpus="esc10",
    model="conv_aum_tiny",
    front_end=FrontEnd(n_frames=496, pad_log_mel=-15.942385),
    training_frames=248,
    augment=Augment(
        speed=(0.8, 1.25),
        roll=True,
        gain_db=6.0,
        mixup=0.7,
        mixup_alpha=1.0,
        negatives=0.2,
        n_mel_masks=2,
        mel_mask_bins=16,
        n_frame_masks=2,
        frame_mask_frames=32,
    ),
    loss="ce",
    label_smoothing=0.1,
    epochs=100,
    batch_size=16,
    learning_rate=1e-3,
    weight_decay=0.05,
    warmup_epochs=5,
    final_lr_fraction=0.01,
    clip_norm=1.0,
    ema_decay=0.99,
    familiarity_limit=3.0,  # 98 % of the held-out clips lie within
    precision="bfloat16",
    evaluate_every=10,
)

# The comparisons have no use for sounds of other kinds.
CNN_SMALL = replace(
    STARTER,
    name="esc10/cnn-small",
    model="cnn_small",
    familiarity_limit=None,
    augment=replace(STARTER.augment, negatives=0.0),
    epochs=40,
)
AUM_TINY = replace(
    CNN_SMALL,
    name="esc10/aum-tiny",
    model="aum_tiny",
    model_changes={"depth": 12, "direction": "fo-bi", "class_token": "middle"},
    training_frames=None,
    augment=replace(CNN_SMALL.augment, frame_mask_frames=64),
    epochs=30,
)
AUM_TINY_MEAN = replace(
    AUM_TINY,
    name="esc10/aum-tiny-mean",
    model_changes={"depth": 12, "direction": "fo-bi", "class_token": "none", "pool": "mean"},
    epochs=50,
)
AST_TINY = replace(
    AUM_TINY,
    name="esc10/ast-tiny",
    model="ast_tiny",
    model_changes={"depth": 7},
)

RECIPES = (STARTER, AUM_TINY, AUM_TINY_MEAN, AST_TINY, CNN_SMALL)
