"""Files by address: on this machine, on S3 (s3://bucket/name) or Google's storage (gs://bucket/name).

A local path is read and written by Python itself; all else goes through pyarrow (the extra `bulk`),
with the credentials and the endpoint that the usual variables name, such as AWS_ACCESS_KEY_ID and
AWS_ENDPOINT_URL. What is written is there as a whole or not at all, on every kind of storage.
"""

import io
import os
import shutil
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from audiomamba.atomic import replacing
from audiomamba.errors import ConfigError, MissingDependencyError

__all__ = ["FileFacts", "RangedFile", "Storage", "is_remote", "open_ranged"]

KINDS = ("s3", "gs")
SETTINGS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
)
COPIED_BYTES = 8 << 20  # at once
READ_AHEAD_BYTES = 1 << 20  # of a file that is read by ranges
N_TRIES = 6  # of a request that failed on its way, with growing pauses between them
TIMEOUT_S = 30.0


class FileFacts(NamedTuple):
    """What a listing says of a file.

    Args:
        address: its path or address.
        size: bytes in it; None if that is not known.
        mtime_ns: when it was last changed, in nanoseconds since 1970; None if that is not known.
    """

    address: str
    size: int | None = None
    mtime_ns: int | None = None


def is_remote(address: str) -> bool:
    """Whether an address is not a path on this machine.

    Args:
        address: a path, or SCHEME://...

    Returns:
        Whether it has one of the known schemes.

    Raises:
        ConfigError: it has another scheme.

    Examples:
        >>> is_remote("s3://archive/2024"), is_remote("archive/2024")
        (True, False)
    """
    scheme, mark, _ = address.partition("://")
    if not mark or not scheme.isalnum():
        return False
    if scheme not in KINDS:
        raise ConfigError(f"{address}: storage {scheme!r} is not known; expected a path, s3 or gs")
    return True


class Storage:
    """A folder on this machine, or all names below a prefix of an object store.

    Args:
        address: the folder's path, or s3://bucket/prefix, or gs://bucket/prefix.

    Raises:
        ConfigError: the address has another scheme or no bucket, or it cannot be reached.
        MissingDependencyError: it is remote, and pyarrow is not installed.

    Examples:
        >>> storage = Storage("results")
        >>> storage.write("done/1.json", b"{}")
        >>> storage.read("done/1.json"), storage.names("done")
        (b'{}', ['1.json'])
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/") or address
        self.folder = None if is_remote(address) else Path(address)
        if self.folder is None:
            self._files, self._prefix = _remote(self.address)

    def __str__(self) -> str:
        return self.address

    def at(self, name: str) -> str:
        """Name a file in full.

        Args:
            name: the file, relative to the folder.

        Returns:
            Its path or address.
        """
        return f"{self.address}/{name}"

    def read(self, name: str) -> bytes:
        """Read a whole file.

        Args:
            name: the file, relative to the folder.

        Returns:
            Its bytes.

        Raises:
            OSError: it is not there, or cannot be read.
        """
        if self.folder is not None:
            return (self.folder / name).read_bytes()
        with self._files.open_input_file(f"{self._prefix}/{name}") as file:
            data: bytes = file.read_at(file.size(), 0)  # in one request
            return data

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading at any position, by ranges where it is remote.

        Args:
            name: the file, relative to the folder.

        Returns:
            The open file.

        Raises:
            OSError: it is not there, or cannot be read.
        """
        return open_ranged(self.at(name))

    def write(self, name: str, data: bytes) -> None:
        """Write a file as a whole, in the place of one that may be there.

        Args:
            name: the file, relative to the folder; folders above it are made.
            data: what to write.

        Raises:
            OSError: it cannot be written; then nothing of it is there.
        """
        if self.folder is not None:
            _write_at_once(self.folder / name, data)
            return
        with self._files.open_output_stream(f"{self._prefix}/{name}") as file:
            file.write(data)

    def upload(self, path: Path, name: str) -> None:
        """Copy a local file there, piece by piece.

        Args:
            path: the local file.
            name: the file there, relative to the folder.

        Raises:
            OSError: it cannot be read or written.
        """
        if self.folder is not None:
            self.write(name, path.read_bytes())
            return
        there = f"{self._prefix}/{name}"
        with path.open("rb") as source, self._files.open_output_stream(there) as file:
            shutil.copyfileobj(source, file, COPIED_BYTES)

    def download(self, name: str, path: Path) -> None:
        """Copy a file from there, piece by piece.

        Args:
            name: the file there, relative to the folder.
            path: the local file, in a folder that exists.

        Raises:
            OSError: it cannot be read or written.
        """
        with self.open(name) as source, replacing(path) as part, part.open("wb") as file:
            shutil.copyfileobj(source, file, COPIED_BYTES)

    def exists(self, name: str) -> bool:
        """Whether a file is there.

        Args:
            name: the file, relative to the folder.

        Returns:
            Whether it is.

        Raises:
            OSError: the storage cannot be asked.
        """
        if self.folder is not None:
            return (self.folder / name).is_file()
        return bool(self._files.get_file_info(f"{self._prefix}/{name}").is_file)

    def names(self, folder: str) -> list[str]:
        """List the files of a folder, those in folders below it left out.

        Args:
            folder: relative to the storage's own.

        Returns:
            Their names, sorted; none where there is no such folder.

        Raises:
            OSError: the storage cannot be asked.
        """
        if self.folder is not None:
            here = self.folder / folder
            return sorted(one.name for one in os.scandir(here)) if here.is_dir() else []
        from pyarrow.fs import FileSelector

        below = f"{self._prefix}/{folder}".rstrip("/")
        chosen = FileSelector(below, allow_not_found=True)
        return sorted(one.base_name for one in self._files.get_file_info(chosen) if one.is_file)

    def delete(self, name: str) -> None:
        """Delete a file; it need not be there.

        Args:
            name: the file, relative to the folder.

        Raises:
            OSError: it cannot be deleted.
        """
        if self.folder is not None:
            (self.folder / name).unlink(missing_ok=True)
        elif self.exists(name):
            self._files.delete_file(f"{self._prefix}/{name}")

    def walk(self) -> Iterator[FileFacts]:
        """List all files of a remote storage, folder by folder.

        Yields:
            What is known of each.

        Raises:
            OSError: it cannot be listed.
        """
        from pyarrow.fs import FileSelector

        folders, head = [self._prefix], self.address.partition("://")[0]
        while folders:
            for one in self._files.get_file_info(FileSelector(folders.pop())):
                if one.is_file:
                    yield FileFacts(f"{head}://{one.path}", one.size, one.mtime_ns)
                elif not one.base_name.startswith("."):
                    folders.append(one.path)


class RangedFile(io.RawIOBase):
    """A piece of a file that is read by ranges, with a name for messages.

    Libraries below may lose an error that reading raises; attribute error keeps the first.

    Args:
        file: what to read from; it is closed with this one.
        name: what messages call it.
        start: where the piece begins.
        size: bytes in the piece.

    Examples:
        >>> file = RangedFile(io.BytesIO(b"a dog barks"), "a tale", start=2, size=3)
        >>> file.read()
        b'dog'
    """

    def __init__(self, file: Any, name: str, *, start: int, size: int) -> None:
        self.name = name
        self._file, self._start, self._size, self._at = file, start, size, 0
        self.error: OSError | None = None

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether it can be read at any position: always."""
        return True

    def tell(self) -> int:
        """Return the position in the piece."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position in the piece, as of any file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read what fits, and return how much that is; 0 at the end."""
        wanted = max(0, min(len(buffer), self._size - self._at))
        try:
            self._file.seek(self._start + self._at)
            data = self._file.read(wanted) if wanted else b""
        except OSError as error:
            self.error = self.error or error
            raise
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """Close it, and what it reads from."""
        if not self.closed:
            self._file.close()
        super().close()


def open_ranged(address: str, *, start: int = 0, size: int | None = None) -> BinaryIO:
    """Open a file, or a piece of one, for reading at any position.

    Args:
        address: its path, or s3://... or gs://...
        start: where the piece begins.
        size: bytes in the piece; None for all up to the end.

    Returns:
        The open file; where it is buffered, its attribute raw is a RangedFile.

    Raises:
        OSError: it is not there, or cannot be read.
        MissingDependencyError: it is remote, and pyarrow is not installed.

    Examples:
        >>> with open_ranged("my-clips/dog/1.wav", start=8, size=4) as file:
        ...     file.read()
        b'WAVE'
    """
    if is_remote(address):
        files, path = _remote(address)
        file: Any = files.open_input_file(path)
        n_bytes = file.size()
    else:
        file = Path(address).open("rb", buffering=0)  # noqa: SIM115  # closed with the piece
        n_bytes = os.fstat(file.fileno()).st_size
        if start == 0 and size is None:
            return file  # type: ignore[no-any-return]
    piece = RangedFile(file, address, start=start, size=n_bytes - start if size is None else size)
    return io.BufferedReader(piece, READ_AHEAD_BYTES)


def _write_at_once(path: Path, data: bytes) -> None:
    """Write a local file as a whole; others may write it at the same time, also other machines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)  # after the rename it is gone


def _remote(address: str) -> tuple[Any, str]:
    """The file system that an address is on, and the path on it."""
    kind, _, path = address.partition("://")
    bucket = path.partition("/")[0]
    if not bucket:
        raise ConfigError(f"{address}: there is no bucket in it; expected {kind}://BUCKET/NAME")
    try:
        import pyarrow.fs  # noqa: F401  # for the message
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "bulk", f"{address}: remote storage") from error
    known = tuple((name, os.environ.get(name, "")) for name in SETTINGS)
    try:
        return _file_system(kind, bucket, known, os.getpid()), path
    except OSError as error:
        raise ConfigError(f"{address} cannot be reached: {' '.join(str(error).split())}") from error


@cache
def _file_system(
    kind: str, bucket: str, settings: tuple[tuple[str, str], ...], _process: int
) -> Any:
    """A connection, made once for each bucket and process as long as the settings stay."""
    from pyarrow import fs

    if kind == "gs":
        return fs.GcsFileSystem()
    given = dict(settings)
    region = given["AWS_REGION"] or given["AWS_DEFAULT_REGION"]
    endpoint = urlsplit(given["AWS_ENDPOINT_URL_S3"] or given["AWS_ENDPOINT_URL"])
    options: dict[str, Any] = {
        "allow_delayed_open": True,  # so that what is small is written by one request
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=N_TRIES),
        "connect_timeout": TIMEOUT_S,
        "request_timeout": TIMEOUT_S,
    }
    if endpoint.netloc:
        options |= {"scheme": endpoint.scheme, "endpoint_override": endpoint.netloc}
        options["region"] = region or "us-east-1"
    else:
        options["region"] = region or fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(**options)
