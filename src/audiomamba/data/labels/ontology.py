"""The ontology of AudioSet: which kinds of sound are kinds of which.

The table beside this file holds ids, names and parents of all 632 nodes, the 527 labels of the
corpus among them (Gemmeke et al. 2017; https://github.com/audioset/ontology, CC BY-SA 4.0).
"""

import csv
from functools import cache
from importlib.resources import files

__all__ = ["audioset_parents"]


@cache
def audioset_parents() -> dict[str, tuple[str, ...]]:
    """Return the parents of every node, by name.

    Returns:
        For each of the 632 names those of its parents, in the order of the ontology; none for the
        seven roots. A node may have several parents.

    Source: Gemmeke et al. 2017, "Audio Set: An ontology and human-labeled dataset for audio
        events".

    Examples:
        >>> audioset_parents()["Bark"]
        ('Dog',)
    """
    table = files("audiomamba.data.labels").joinpath("audioset_ontology.csv")
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    names = {row["id"]: row["name"] for row in rows}
    return {row["name"]: tuple(names[id_] for id_ in row["parents"].split()) for row in rows}
