"""Files that hold many recordings, opened once per process and thread.

A handle that was open before a fork is not used after it: parent and child would share one position
in the file.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from audiomamba.data.remote_shards import place_of
from audiomamba.errors import AudioError, MissingDependencyError
from audiomamba.storage import open_ranged

if TYPE_CHECKING:
    import h5py

__all__ = ["HDF5_SUFFIXES", "open_hdf5", "read_tar"]

HDF5_SUFFIXES = frozenset({".h5", ".hdf5"})
N_OPEN = 64  # files of many recordings that one thread keeps open


def open_hdf5(path: Path) -> "h5py.File":
    """Open an HDF5 file for reading.

    Args:
        path: the file.

    Returns:
        The open file, which stays open.

    Raises:
        AudioError: it cannot be read.
        MissingDependencyError: h5py is not installed.
    """
    file: h5py.File = _pool.get(path, _open_hdf5)
    return file


def read_tar(path: Path, n_bytes: int, start: int) -> bytes:
    """Read from a tar file, which stays open, at any position.

    Args:
        path: the file, or what says where it is.
        n_bytes: how much, at most.
        start: where, in bytes from its beginning.

    Returns:
        What is there.

    Raises:
        AudioError: it cannot be read.
        ConfigError: it is on storage that is not known.
        MissingDependencyError: it is on object storage, and pyarrow is not installed.
    """
    file = _pool.get(path, _open_tar)
    if isinstance(file, int):
        return os.pread(file, n_bytes, start)
    try:
        file.seek(start)
        data: bytes = file.read(n_bytes)
    except OSError as error:
        raise _unreadable(path, error) from error
    return data


def _open_hdf5(path: Path) -> "h5py.File":
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError("h5py", "hdf5", f"{path}: reading HDF5 files") from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise AudioError(f"{path}: cannot be read as an HDF5 file") from error


def _open_tar(path: Path) -> "int | BinaryIO":
    try:
        place = place_of(path)
        return os.open(path, os.O_RDONLY) if place is None else open_ranged(place)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> AudioError:
    reason = " ".join((error.strerror or str(error) or "cannot be read").lower().split())
    return AudioError(f"{path}: {reason}")


class _Pool(threading.local):
    """Open files of this process and thread, the ones used last."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._open: OrderedDict[Path, Any] = OrderedDict()
        self._inherited: list[Any] = []  # kept, so that they are not closed for the parent

    def get(self, path: Path, opener: Callable[[Path], Any]) -> Any:
        if self._process != os.getpid():
            self._inherited.append(self._open)
            self._open, self._process = OrderedDict(), os.getpid()
        if path not in self._open:
            self._open[path] = opener(path)
            if len(self._open) > N_OPEN:
                _, oldest = self._open.popitem(last=False)
                os.close(oldest) if isinstance(oldest, int) else oldest.close()
        self._open.move_to_end(path)
        return self._open[path]


_pool = _Pool()
