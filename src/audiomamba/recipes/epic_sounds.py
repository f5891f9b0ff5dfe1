"""EPIC-SOUNDS: 44 kinds of sound of everyday actions, 76 000 pieces of long recordings.

As what AuM's scripts do when they run: after two epochs of warm-up the learning rate stays at its
highest. They mean to follow the schedule of the EPIC-SOUNDS paper, to a twentieth after 10 epochs
and a hundredth after 20, which is

    schedule.shares=1,1,1,1,1,1,1,1,1,1,.05,.05,.05,.05,.05,.05,.05,.05,.05,.05,.01

Of a piece that is longer than 10 s a random 10 s are taken, of which the model's input holds the
first 5.12 s: 1024 frames every 5 ms, where the paper's Table VI says 10 s.

What is not followed: the scripts draw each mask's width twice, so that it comes out shorter, and
skip the second mask where the first has width 0; their time warp begins at a frame whose number is
a value of the spectrogram; they leave the last incomplete batch out; they evaluate on random
pieces.

Source: Huh et al., "EPIC-SOUNDS: A Large-Scale Dataset of Actions That Sound" (2023); the settings
as recipes.aum says.
"""

from dataclasses import replace

from audiomamba.data.augment import Augment
from audiomamba.data.corpora import CORPORA
from audiomamba.recipes.aum import AUDIOSET_20K, family
from audiomamba.recipes.schedule import Schedule

__all__ = ["RECIPES"]

EPIC_SOUNDS = replace(
    AUDIOSET_20K,
    name="epic_sounds",
    corpus="epic_sounds",
    front_end=CORPORA["epic_sounds"].front_end,
    augment=Augment(
        segment_s=10.0,
        short_clips="pad",
        n_mel_masks=2,
        mel_mask_bins=47,
        n_frame_masks=2,
        frame_mask_frames=191,
        mask_value="clip-mean",
        time_warp_frames=5,
    ),
    loss="ce",
    epochs=30,
    learning_rate=1e-5,
    warmup_epochs=2,
    schedule=Schedule(kind="by-epoch", shares=(1.0,), warmup_from=0.01),
    best_by="accuracy",
)

RECIPES = family(EPIC_SOUNDS, from_audioset=True)
