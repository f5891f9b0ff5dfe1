"""VoxCeleb1: which of 1251 speakers is heard, 150 000 utterances.

Source: Nagrani et al., "VoxCeleb: A Large-Scale Speaker Identification Dataset" (2017); the
settings as recipes.aum says, with VGGSound's schedule.
"""

from dataclasses import replace

from audiomamba.data.corpora import CORPORA
from audiomamba.recipes.aum import family
from audiomamba.recipes.vggsound import VGGSOUND

__all__ = ["RECIPES"]

VOXCELEB1 = replace(
    VGGSOUND,
    name="voxceleb1",
    corpus="voxceleb1",
    front_end=CORPORA["voxceleb1"].front_end,
    loss="ce",
)

RECIPES = family(VOXCELEB1, from_audioset=True)
