"""The files that a plan is made of, listed as they are found.

A source is a folder or a prefix of an object store (which are searched to any depth), an audio
file, a tar file (whose members are the recordings), a text file with a source on every line, or a
parquet file with a column of them.
"""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from audiomamba.audio.files import SUFFIXES
from audiomamba.errors import AudioError, ConfigError, DataError, MissingDependencyError
from audiomamba.storage import FileFacts, Storage, is_remote, open_ranged

__all__ = ["Recording", "list_recordings"]

TAR = ".tar"
LISTS = (".txt", ".list")
ROWS_AT_ONCE = 10_000  # of a parquet file


class Recording(NamedTuple):
    """A file of the plan.

    Args:
        file: its path or address, that of a tar file for a member of it.
        member: its name in the tar file; empty for a file of its own.
        start: where its bytes begin in the tar file; 0 for a file of its own.
        size: its bytes; None if that is not known.
        mtime_ns: when it was last changed, in nanoseconds since 1970; None if that is not known.
    """

    file: str
    member: str = ""
    start: int = 0
    size: int | None = None
    mtime_ns: int | None = None

    @property
    def name(self) -> str:
        """What results and messages call it."""
        return f"{self.file}#{self.member}" if self.member else self.file


def list_recordings(source: str, column: str = "file") -> Iterator[Recording]:
    """List the recordings that a source stands for, without holding them.

    Args:
        source: as said above.
        column: of a parquet file, the one that holds paths or addresses.

    Yields:
        The recordings; local paths are absolute.

    Raises:
        AudioError: it is not there, cannot be listed, or has no recordings.
        ConfigError: a parquet file has no such column, or an address has an unknown scheme.
        DataError: a list, a parquet file or a tar file cannot be read.
        MissingDependencyError: pyarrow is needed and not installed.

    Examples:
        >>> sorted(one.name.rpartition("my-clips")[2] for one in list_recordings("my-clips/dog"))
        ['/dog/1.wav', '/dog/2.wav']
    """
    suffix = _suffix(source)
    if suffix in LISTS:
        yield from _of_lines(source)
    elif suffix == ".parquet":
        yield from _of_column(source, column)
    else:
        yield from _of_files(source)


def _of_files(source: str) -> Iterator[Recording]:
    """The recordings of a folder, a prefix, a tar file or a single file."""
    try:
        found = False
        for facts in _walk_remote(source) if is_remote(source) else _walk_local(source):
            found = True
            if facts.address.lower().endswith(TAR):
                yield from _members(facts)
            else:
                yield Recording(facts.address, size=facts.size, mtime_ns=facts.mtime_ns)
    except FileNotFoundError as error:
        raise AudioError(f"{source}: no such file or folder") from error
    except OSError as error:
        raise AudioError(f"{source}: {(error.strerror or str(error)).lower()}") from error
    if not found:
        raise AudioError(f"{source}: the folder has no audio files in it")


def _is_sound(name: str) -> bool:
    """Whether a name is that of a recording or a tar file."""
    suffix = _suffix(name)
    return suffix in SUFFIXES or suffix == TAR


def _suffix(name: str) -> str:
    """A name's suffix in lower case, with the dot."""
    return f".{name.rpartition('.')[2].lower()}"


def _walk_local(source: str) -> Iterator[FileFacts]:
    """The audio files of a local folder, or the file itself; hidden ones are left out."""
    path = Path(source).absolute()
    if not path.is_dir():
        status = path.stat()
        yield FileFacts(str(path), status.st_size, status.st_mtime_ns)
        return
    folders = [str(path)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif _is_sound(entry.name):
                    yield _facts(entry)


def _facts(entry: "os.DirEntry[str]") -> FileFacts:
    """What is known of a local file; of a broken link nothing, which reading it tells."""
    try:
        status = entry.stat()
    except OSError:
        return FileFacts(entry.path)
    return FileFacts(entry.path, status.st_size, status.st_mtime_ns)


def _walk_remote(source: str) -> Iterator[FileFacts]:
    """The audio files below a prefix, or the object itself."""
    if _is_sound(source):
        yield FileFacts(source)
        return
    yield from (facts for facts in Storage(source).walk() if _is_sound(facts.address))


def _members(facts: FileFacts) -> Iterator[Recording]:
    """The recordings in a tar file, of which only the heads are read."""
    try:
        with open_ranged(facts.address) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.isfile() and _suffix(member.name) in SUFFIXES:
                    yield Recording(
                        facts.address, member.name, member.offset_data, member.size, facts.mtime_ns
                    )
                tar.members = []  # type: ignore[attr-defined]  # which it would keep
    except tarfile.TarError as error:
        raise DataError(f"{facts.address}: cannot be read as a tar file: {error}") from error


def _of_lines(source: str) -> Iterator[Recording]:
    """The recordings that the lines of a text file name; nothing is asked about them."""
    try:
        with open_ranged(source) as file:
            lines = io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file
            for line in lines:
                name = os.fsdecode(line.rstrip(b"\r\n"))
                if name:
                    yield from _named(name)
    except OSError as error:
        raise DataError(f"{source}: {(error.strerror or str(error)).lower()}") from error


def _of_column(source: str, column: str) -> Iterator[Recording]:
    """The recordings that a column of a parquet file names."""
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "bulk", f"{source}: reading parquet") from error
    try:
        with open_ranged(source) as file, ParquetFile(file) as table:
            if column not in table.schema_arrow.names:
                names = ", ".join(table.schema_arrow.names)
                raise ConfigError(f"{source}: no column {column!r}; it has {names}")
            for batch in table.iter_batches(ROWS_AT_ONCE, columns=[column]):
                for name in batch.column(0).to_pylist():
                    yield from _named(str(name))
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise DataError(f"{source}: cannot be read as parquet: {error}") from error


def _named(name: str) -> Iterator[Recording]:
    """The recording that a list names, or those of a tar file."""
    address = name if is_remote(name) else os.path.abspath(name)  # noqa: PTH100  # it is quick
    if address.lower().endswith(TAR):
        yield from _members(FileFacts(address))
    else:
        yield Recording(address)
