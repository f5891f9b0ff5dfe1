"""Speech Commands V2: 35 spoken words, 106 000 clips of 1 s.

As the scripts of AuM: no warm-up, where the paper's Table VI says 1000 steps; noise and a roll in
time, which neither paper mentions; batches of 128, as the letter says, where the preprint says 12.

Source: Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition" (2018); the
settings as recipes.aum says.
"""

from dataclasses import replace

from audiomamba.data.corpora import CORPORA
from audiomamba.recipes.aum import AUDIOSET_20K, family
from audiomamba.recipes.schedule import Schedule

__all__ = ["RECIPES"]

SPEECH_COMMANDS = replace(
    AUDIOSET_20K,
    name="speech_commands",
    corpus="speech_commands",
    front_end=CORPORA["speech_commands"].front_end,
    augment=replace(
        AUDIOSET_20K.augment, mixup=0.6, frame_mask_frames=47, noise=0.1, roll_frames=10
    ),
    epochs=30,
    batch_size=128,
    learning_rate=2.5e-4,
    warmup_epochs=0,
    schedule=Schedule(kind="multi-step", drop_after=5, drop_every=1, drop_factor=0.85),
    best_by="accuracy",
)

RECIPES = family(SPEECH_COMMANDS, from_audioset=True)
