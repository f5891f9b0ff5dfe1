"""Recordings that must not be used: by a file's hash, its sound's hash, or a Freesound id.

A list is a text file with one entry per line, or a CSV table with any of the columns `sha256`,
`sound`, `freesound_id` and `src_file` (ESC-50's column of Freesound ids). The table recordings.csv
that `audiomamba data prepare collection` writes is such a list.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audiomamba.errors import DataError

__all__ = ["DenyList", "freesound_ids", "read_deny_lists"]

COLUMNS = {"sha256": "sha256", "sound": "sound", "freesound_id": "id", "src_file": "id"}
_KINDS = {
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "sound": re.compile(r"[0-9a-f]{32}"),
    "id": re.compile(r"[0-9]{1,7}"),
}
_EXPECTED = "a SHA-256 (64 hex digits), a hash of sound (32) or a Freesound id (1 to 7 digits)"
# A number of 3 to 7 digits that stands by itself, or any at the start before the user's name.
_ID = re.compile(
    r"^([0-9]{1,7})__|(?<![0-9a-z])(?:freesound|fs)?([0-9]{3,7})(?![0-9a-z])", re.IGNORECASE
)


@dataclass(frozen=True)
class DenyList:
    """What must not be used.

    Args:
        sha256: hashes of files, in lower case.
        sounds: hashes of sounds, as recordings.csv has them.
        freesound_ids: numbers of sounds on Freesound, without zeros before them.
    """

    sha256: frozenset[str] = frozenset()
    sounds: frozenset[str] = frozenset()
    freesound_ids: frozenset[str] = frozenset()

    def reason(self, *, sha256: str, sound: str, ids: Iterable[str]) -> str:
        """Say why a recording must not be used.

        Args:
            sha256: hash of its file.
            sound: hash of its sound.
            ids: Freesound ids that it may have.

        Returns:
            The reason in words; empty if it may be used.
        """
        if sha256 in self.sha256:
            return "its SHA-256 is in the list of what is excluded"
        if sound in self.sounds:
            return "its sound is in the list of what is excluded"
        for number in (it.lstrip("0") for it in ids):
            if number and number in self.freesound_ids:
                return f"Freesound id {number} is in the list of what is excluded"
        return ""


def freesound_ids(name: str) -> list[str]:
    """Find what may be a Freesound id in a file's name.

    Args:
        name: such as "1234__somebody__rain.wav" or "1-18527-A-44.wav"; every number of 3 to 7
            digits that is no part of a longer word may be one.

    Returns:
        The numbers, as they stand there.

    Examples:
        >>> freesound_ids("1-18527-A-44.wav"), freesound_ids("77__kim__dog2019.wav")
        (['18527'], ['77'])
    """
    return [found[1] or found[2] for found in _ID.finditer(name)]


def read_deny_lists(paths: Iterable[Path]) -> DenyList:
    """Read lists of what must not be used, and join them.

    Args:
        paths: text files with one SHA-256, hash of sound or Freesound id per line (what follows it
            on the line, and lines that begin with #, say nothing), or CSV tables.

    Returns:
        All entries together.

    Raises:
        DataError: a file cannot be read, or an entry is nothing of the kind.
    """
    found: dict[str, set[str]] = {kind: set() for kind in _KINDS}
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        for kind, value in _table(path, text) if _is_table(text) else _lines(path, text):
            found[kind].add(value.lstrip("0") if kind == "id" else value)
    return DenyList(
        sha256=frozenset(found["sha256"]),
        sounds=frozenset(found["sound"]),
        freesound_ids=frozenset(found["id"]),
    )


def _is_table(text: str) -> bool:
    header = next(csv.reader([text.partition("\n")[0]]), [])
    return not COLUMNS.keys().isdisjoint(header)


def _table(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """The kind and the value of each cell that says something."""
    rows = csv.DictReader(text.splitlines(keepends=True))
    for row in rows:
        for column, kind in COLUMNS.items():
            value = (row.get(column) or "").strip().lower()
            if value and not _KINDS[kind].fullmatch(value):
                raise DataError(
                    f"{path}: line {rows.line_num}: {column} is {value!r}; expected {_EXPECTED}"
                )
            if value:
                yield kind, value


def _lines(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """The kind and the value of each line that says something."""
    for number, line in enumerate(text.splitlines(), start=1):
        words = re.split(r"[\s,;]+", line.strip().lower())
        if not words[0] or words[0].startswith("#"):
            continue
        kind = next((kind for kind, form in _KINDS.items() if form.fullmatch(words[0])), None)
        if kind is None:
            raise DataError(f"{path}: line {number} begins with {words[0]!r}; expected {_EXPECTED}")
        yield kind, words[0]
