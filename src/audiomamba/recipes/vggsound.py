"""VGGSound: 309 classes, 200 000 clips of 10 s.

As the scripts of AuM: binary cross-entropy, though every clip has one label, and no mixup. The
paper's Table VI can be read as cross-entropy.

Source: Chen et al., "VGGSound: A Large-Scale Audio-Visual Dataset" (2020); the settings as
recipes.aum says.
"""

from dataclasses import replace

from audiomamba.data.corpora import CORPORA
from audiomamba.recipes.aum import AUDIOSET_20K, family

__all__ = ["RECIPES", "VGGSOUND"]

VGGSOUND = replace(
    AUDIOSET_20K,
    name="vggsound",
    corpus="vggsound",
    front_end=CORPORA["vggsound"].front_end,
    augment=replace(AUDIOSET_20K.augment, mixup=0.0),
    epochs=20,
    learning_rate=1e-5,
    schedule=replace(AUDIOSET_20K.schedule, drop_after=5, drop_every=2, drop_factor=0.75),
    best_by="accuracy",
)

RECIPES = family(VGGSOUND, from_audioset=True)
