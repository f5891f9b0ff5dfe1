"""ESC-10: ten kinds of environmental sound, 400 clips of 5 s, five folds, trained from scratch.

The front end's window is 496 frames, 31 patches of 16: a clip of 5 s (498 frames) fills it. Shorter
clips are padded with the log-mel value of digital silence, in which many ESC clips end. Models with
convolutions train on pieces of half that length, AuM and AST, which have learned positions, on
whole clips; all are evaluated on whole clips.

AuM has 12 blocks here, half the paper's depth, so that two processor cores finish five folds in
half an hour; AST has 7, the same number of parameters. Vision Mamba, which AuM was made from, has
12 too. The nano model of the hierarchical Audio Mamba, an HTS-AT of a third of the usual width,
which is as large, and MambaOut's smallest model get AuM's budget.

Two recipes are those of the hierarchical Audio Mamba's paper, which makes its ablation on ESC-50:
HTS-AT's released settings for ESC-50, where a clip of 5 s is read twice over, with the schedule of
recipes.htsat. The paper says nothing of batch size and epochs; HTS-AT evaluates on the fold that it
chooses its epoch by.

SHORT is for comparing many models on one processor core: half the mel bands, half the frames and
eight epochs of small batches; no mixup, which does harm in so short a time, and no changes of
speed, which take time themselves. Both were tried with AuM on the first fold; nothing was tuned for
the other models, and the learning rate for none. How far the models are cut down, recipes.sets
says.
"""

from collections.abc import Mapping
from dataclasses import replace

from audiomamba.audio.front_end import FrontEnd
from audiomamba.data.augment import Augment
from audiomamba.recipes.htsat import HTSAT_TINY, hierarchical
from audiomamba.recipes.schema import Recipe

__all__ = ["AST_TINY", "AUM_TINY", "AUM_TINY_MEAN", "CNN_SMALL", "RECIPES", "SHORT", "STARTER"]

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
    ood_limit=3.0,  # 98 % of the held-out clips lie within
    precision="bfloat16",
    evaluate_every=10,
)

# The comparisons have no use for sounds of other kinds.
CNN_SMALL = replace(
    STARTER,
    name="esc10/cnn-small",
    model="cnn_small",
    ood_limit=None,
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
SHORT = replace(
    AUM_TINY,
    name="esc10/short",
    model_changes={},
    front_end=replace(AUM_TINY.front_end, n_mels=64, frame_shift_ms=20.0, n_frames=256),
    augment=replace(
        AUM_TINY.augment,
        speed=(1.0, 1.0),
        mixup=0.0,
        n_mel_masks=1,
        mel_mask_bins=8,
        n_frame_masks=1,
        frame_mask_frames=24,
    ),
    epochs=8,
    batch_size=8,
    warmup_epochs=1,
    evaluate_every=8,
)

SMALL_MODELS: Mapping[str, tuple[str, Mapping[str, int | tuple[int, ...]]]] = {
    "vim-tiny": ("vim_tiny", {"n_channels": 1, "depth": 12}),
    "audiomamba-nano": ("audiomamba_nano", {}),
    "htsat-nano": ("htsat_tiny", {"dim": 32, "n_heads": (2, 4, 8, 16)}),
    "mambaout-femto": ("mambaout_femto", {}),
}
HIERARCHICAL = hierarchical(
    replace(
        HTSAT_TINY,
        name="esc10/htsat-tiny",
        corpus="esc10",
        model_changes={"short_clips": "repeat"},
        front_end=replace(HTSAT_TINY.front_end, n_frames=501),
        augment=replace(HTSAT_TINY.augment, short_clips="repeat", mixup=0.0),
        sampling="shuffled",
        loss="ce",
        batch_size=32,
        best_by="accuracy",
    )
)[:2]

RECIPES = (
    STARTER,
    AUM_TINY,
    AUM_TINY_MEAN,
    AST_TINY,
    CNN_SMALL,
    SHORT,
    *(
        replace(AUM_TINY, name=f"esc10/{variant}", model=model, model_changes=changes)
        for variant, (model, changes) in SMALL_MODELS.items()
    ),
    *HIERARCHICAL,
)
