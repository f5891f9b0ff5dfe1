"""AudioSet: 527 labels, two million clips of 10 s, or the 20 000 of its balanced part.

Source: Gemmeke et al., "Audio Set: An Ontology and Human-Labeled Dataset for Audio Events" (2017);
the settings as recipes.aum and recipes.htsat say.
"""

from dataclasses import replace

from audiomamba.recipes.aum import AUDIOSET_20K, family
from audiomamba.recipes.htsat import HTSAT_TINY, hierarchical

__all__ = ["RECIPES", "RECIPES_20K", "VIM_TINY"]

AUDIOSET = replace(
    AUDIOSET_20K,
    name="audioset",
    corpus="audioset",
    sampling="balanced",
    epochs=5,
    learning_rate=1e-5,
    schedule=replace(AUDIOSET_20K.schedule, drop_after=2, drop_every=1),
)
# Not in a paper: Vision Mamba on spectrograms, for the ablation of Vim's Table 4.
VIM_TINY = replace(
    AUDIOSET_20K,
    name="audioset20k/vim-tiny",
    model="vim_tiny",
    model_changes={"n_channels": 1},
)

RECIPES = (*family(AUDIOSET, from_audioset=False), *hierarchical(HTSAT_TINY))
RECIPES_20K = (*family(AUDIOSET_20K, from_audioset=False), VIM_TINY)
