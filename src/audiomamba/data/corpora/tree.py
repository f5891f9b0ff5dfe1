"""What is in a folder, looked at once."""

import os
from pathlib import Path

from audiomamba.audio.files import SUFFIXES
from audiomamba.errors import DataError

__all__ = ["Tree"]


class Tree:
    """The files below a folder: recordings by their name without suffix, all others by suffix.

    Args:
        folder: the folder.

    Raises:
        DataError: it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recordings: dict[str, str] = {}
        self._others: dict[str, list[Path]] = {}
        for parent, folders, names in os.walk(folder, onerror=_refuse):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                stem, suffix = os.path.splitext(name)  # noqa: PTH122 (millions of them)
                if suffix.lower() in SUFFIXES:
                    self.recordings.setdefault(stem, f"{parent}{os.sep}{name}")
                else:
                    self._others.setdefault(suffix.lower(), []).append(Path(parent, name))

    def files(self, *suffixes: str) -> list[Path]:
        """List the files that are no recordings.

        Args:
            suffixes: how their names end, dot included, in lower case.

        Returns:
            Their paths, folder by folder.
        """
        return [path for suffix in suffixes for path in self._others.get(suffix, ())]

    def find(self, name: str) -> Path | None:
        """Find a file that is no recording by its name.

        Args:
            name: its name, suffix included.

        Returns:
            The first one; None if there is none.
        """
        same = (path for path in self.files(Path(name).suffix.lower()) if path.name == name)
        return next(same, None)

    def recording(self, *stems: str) -> Path:
        """Find a recording.

        Args:
            stems: what its name may be, without suffix.

        Returns:
            The first one that is there; where there is none, where the first one would be.
        """
        for stem in stems:
            if stem in self.recordings:
                return Path(self.recordings[stem])
        return self.folder / f"{stems[0]}.wav"


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: {(error.strerror or 'cannot be read').lower()}") from error
