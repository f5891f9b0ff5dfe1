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

__all__ = ["LabelList", "label_list"]


@dataclass(frozen=True)
class LabelList:
    """The classes of a corpus, in the order of a model's outputs.

    Args:
        ids: how the corpus's own lists of clips name the classes.
        names: how people call them.

    Examples:
        >>> LabelList(ids=("/m/0bt9lr",), names=("Dog",)).names
        ('Dog',)
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]


@cache
def label_list(table: str) -> LabelList:
    """Read one of the tables.

    Args:
        table: its name without suffix, such as "audioset".

    Returns:
        Ids and names.

    Raises:
        UnknownNameError: no such table ships with the package.

    Examples:
        >>> label_list("esc50").names[:3]
        ('dog', 'rooster', 'pig')
    """
    path = files("audiomamba.data.labels").joinpath(f"{table}.csv")
    if not path.is_file():
        raise UnknownNameError("list of labels", table, _tables())
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    return LabelList(tuple(row["id"] for row in rows), tuple(row["name"] for row in rows))


def _tables() -> list[str]:
    """The names of all tables."""
    names = (entry.name for entry in files("audiomamba.data.labels").iterdir())
    return [name.removesuffix(".csv") for name in names if name.endswith(".csv")]
