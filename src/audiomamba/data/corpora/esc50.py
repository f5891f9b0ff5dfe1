"""ESC-50 and its subset ESC-10: audio/ beside meta/esc50.csv, five folds.

Source: Piczak, "ESC: Dataset for Environmental Sound Classification", 2015.
"""

from collections.abc import Sequence
from pathlib import Path

from audiomamba.data.corpora.table import Row, read_table
from audiomamba.data.corpus import Corpus, Download
from audiomamba.data.manifest import Clip, Manifest
from audiomamba.errors import DataError

__all__ = ["ESC10", "ESC50", "TABLE", "read", "read_esc10"]

TABLE = Path("meta", "esc50.csv")
COLUMNS = ("filename", "fold", "target", "category")


def read(folder: Path) -> Manifest:
    """List the clips of ESC-50, or of any data set laid out like it.

    Args:
        folder: the folder that holds audio/ and meta/.

    Returns:
        The clips, their folds as splits, their source recordings as groups; classes in the order
        of the table's target numbers.

    Raises:
        DataError: the table is missing or not ESC-50's.
    """
    return _manifest("esc50", folder, read_table(folder / TABLE, COLUMNS))


def read_esc10(folder: Path) -> Manifest:
    """List the clips of ESC-10: those of ESC-50 whose column esc10 says True.

    Args:
        folder: the folder of ESC-50, or one with the clips of ESC-10 only.

    Returns:
        The clips, their folds as splits, their source recordings as groups; ten classes in the
        order of the table's target numbers.

    Raises:
        DataError: the table is missing or not ESC-50's.
    """
    rows = read_table(folder / TABLE, (*COLUMNS, "esc10"))
    return _manifest("esc10", folder, [row for row in rows if row["esc10"] == "True"])


def _manifest(corpus: str, folder: Path, rows: Sequence[Row]) -> Manifest:
    """Turn the table's lines into clips."""
    targets: dict[str, int] = {}
    for row in rows:
        if not (row["target"].isdigit() and row["fold"].isdigit()):
            raise DataError(
                f"{folder / TABLE}: {row['filename']} has target {row['target']!r} and fold "
                f"{row['fold']!r}; expected two numbers"
            )
        if targets.setdefault(row["category"], int(row["target"])) != int(row["target"]):
            raise DataError(f"{folder / TABLE}: {row['category']} has two target numbers")
    clips = tuple(
        Clip(
            path=folder / "audio" / row["filename"],
            labels=(row["category"],),
            split=str(int(row["fold"])),
            group=row.get("src_file"),
        )
        for row in rows
    )
    labels = sorted(targets, key=targets.__getitem__)
    return Manifest(labels=labels, clips=clips, corpus=corpus)


ESC50 = Corpus(
    name="esc50",
    read=read,
    labels="esc50",
    download=Download(
        url="https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip",
        size=645_832_161,
        sha256="661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
        table=TABLE.as_posix(),
    ),
    license="CC BY-NC 3.0; the clips of ESC-10 CC BY 3.0",
)
ESC10 = Corpus(name="esc10", read=read_esc10, license="CC BY 3.0")
