"""Clips whose kinds are called otherwise than a model's labels: which labels stand for a kind."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiomamba.errors import DataError

__all__ = ["LabelMap", "read_label_map"]

KIND, LABEL = "category", "label"


@dataclass(frozen=True)
class LabelMap:
    """The labels of a model that stand for each kind of sound.

    Args:
        kinds: what the clips' labels are, in the order of the table.
        places: for each kind, at least one number of a label of the model.
    """

    kinds: tuple[str, ...]
    places: tuple[tuple[int, ...], ...]

    def scores(self, scores: np.ndarray) -> np.ndarray:
        """Score kinds: each by the highest of its labels.

        Args:
            scores: (clips, labels).

        Returns:
            (clips, kinds).

        Examples:
            >>> LabelMap(("bird", "rain"), ((0, 2), (1,))).scores(np.array([[0.1, 0.2, 0.7]]))
            array([[0.7, 0.2]])
        """
        best: np.ndarray = np.stack(
            [scores[:, list(places)].max(axis=1) for places in self.places], axis=1
        )
        return best


def read_label_map(path: Path | None, labels: Sequence[str]) -> LabelMap:
    """Read a CSV table with the columns category and label, a row for each pair.

    Args:
        path: the table; None if the clips' labels are the model's.
        labels: those of the model.

    Returns:
        The map.

    Raises:
        DataError: the file cannot be read, has other columns, has no rows, or names a label that
            the model has not.
    """
    if path is None:
        return LabelMap(tuple(labels), tuple((number,) for number in range(len(labels))))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    table = csv.DictReader(text.splitlines())
    place = {label: number for number, label in enumerate(labels)}
    found: dict[str, list[int]] = {}
    for row in table:
        kind, label = row.get(KIND), row.get(LABEL)
        if not kind or not label:
            raise DataError(
                f"{path}: line {table.line_num} names no kind or no label; "
                f"expected the columns {KIND} and {LABEL}"
            )
        if label not in place:
            raise DataError(
                f"{path}: line {table.line_num}: the model has no label {label!r}; "
                f"it has {', '.join(labels[:5])} ..."
            )
        found.setdefault(kind, []).append(place[label])
    if not found:
        raise DataError(f"{path} has no rows; expected the columns {KIND} and {LABEL}")
    return LabelMap(tuple(found), tuple(map(tuple, found.values())))
