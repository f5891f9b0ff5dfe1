"""A recording that came, as a file without a name."""

from collections.abc import Callable
from typing import BinaryIO

__all__ = ["Received"]


class Received:
    """A recording that came.

    Args:
        file: what is in it; closed with this.
        close: what else to do then.
    """

    def __init__(self, file: BinaryIO, close: Callable[[], object] = lambda: None) -> None:
        self.file, self._close = file, close

    def close(self) -> None:
        """Delete the file."""
        self.file.close()
        self._close()
