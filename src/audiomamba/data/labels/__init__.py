"""The classes of the published corpora: names and numbers, one table per corpus.

The order is that of the outputs of the models that the papers' authors trained. Ids of AudioSet are
the corpus's own, those of ESC-50 its target numbers; the others are those of the authors' lists of
clips.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from audiomamba.errors import UnknownNameError

__all__ = ["LISTS", "LabelList", "label_list", "label_names"]

# The table that a corpus uses.
LISTS = {
    "audioset": "audioset",
    "audioset20k": "audioset",
    "epic_sounds": "epic_sounds",
    "esc50": "esc50",
    "speech_commands": "speech_commands",
    "vggsound": "vggsound",
    "voxceleb1": "voxceleb1",
}


@dataclass(frozen=True)
class LabelList:
    """The classes of a corpus, in the order of a model's outputs.

    Args:
        ids: how the corpus's own lists of clips name the classes.
        names: how people call them.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]


@cache
def label_list(corpus: str) -> LabelList:
    """Return the classes of a corpus.

    Args:
        corpus: one of LISTS.

    Returns:
        Ids and names.

    Raises:
        UnknownNameError: no list of that corpus ships with the package.
    """
    if corpus not in LISTS:
        raise UnknownNameError("label list", corpus, LISTS)
    table = files("audiomamba.data.labels").joinpath(f"{LISTS[corpus]}.csv")
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    return LabelList(tuple(row["id"] for row in rows), tuple(row["name"] for row in rows))


def label_names(corpus: str) -> tuple[str, ...]:
    """Return the names of a corpus's classes.

    Args:
        corpus: one of LISTS.

    Returns:
        The names, in the order of a model's outputs.

    Raises:
        UnknownNameError: no list of that corpus ships with the package.
    """
    return label_list(corpus).names
