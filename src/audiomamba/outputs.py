"""What holds for every output: one writer at a time, never an input, nothing lost unasked.

    with claimed([out], inputs, overwrite=overwrite):
        with writing(out):  # a full disk is an error of one line
            ...

Or in single steps, where they suit better:

    with sole_writer(out):                         # a second call that writes there is refused
        refuse_inputs([out], inputs)               # an output may not be what the call reads
        refuse_existing(out, overwrite=overwrite)  # nor replace what is there unasked

The lock is a hidden file beside the output, .NAME.lock, which the system frees when the process
that holds it ends, however it ends; it is removed with the block.
"""

import errno
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir

from audiomamba.errors import ConfigError

__all__ = ["claimed", "refuse_existing", "refuse_inputs", "sole_writer", "writing"]

LONGEST_NAME = 240  # bytes of a file's name that its lock's name repeats
NO_LOCKS_HERE = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
ASK_AGAIN, ASK_EVERY_S = 40, 0.05
LOCKED_BYTE = 1 << 20  # beyond what is read; Windows locks bytes, not files


@contextmanager
def claimed(
    outputs: Iterable[Path], inputs: Iterable[Path] = (), *, overwrite: bool
) -> Iterator[None]:
    """Be the only one that writes these files, which are new or may be replaced.

    Args:
        outputs: files.
        inputs: what the call reads, as for refuse_inputs.
        overwrite: whether files that are there may be replaced.

    Yields:
        Nothing.

    Raises:
        ConfigError: a file's folder does not exist; or as for sole_writer, refuse_inputs and
            refuse_existing.

    Examples:
        >>> Path("precious.csv").write_text("dog")
        3
        >>> with claimed([Path("precious.csv")], overwrite=False):
        ...     pass
        Traceback (most recent call last):
            ...
        audiomamba.errors.ConfigError: precious.csv exists already; ...
    """
    outputs = list(outputs)
    for output in outputs:
        if not output.parent.is_dir():
            raise ConfigError(f"{output} cannot be written: there is no folder {output.parent}")
    with sole_writer(*outputs):
        refuse_inputs(outputs, inputs)
        for output in outputs:
            refuse_existing(output, overwrite=overwrite)
        yield


@contextmanager
def sole_writer(*outputs: Path) -> Iterator[None]:
    """Be the only one that writes these outputs, in any process, until the block ends.

    Files and folders are known by their real paths: links and other spellings are the same.
    Folders that are missing above an output are made, and removed again if they stay empty.

    Args:
        outputs: files or folders, which need not exist; what is no file and no folder, such as
            a pipe, is not locked.

    Yields:
        Nothing.

    Raises:
        ConfigError: an output is being written by another call, cannot be written, or is given
            twice.

    Examples:
        >>> with sole_writer(Path("tags.csv")):
        ...     with sole_writer(Path("./tags.csv")):  # as another process would
        ...         pass
        Traceback (most recent call last):
            ...
        audiomamba.errors.ConfigError: tags.csv is being written by another call, process ...
    """
    known: dict[Path, Path] = {}
    for output in outputs:
        real = Path(os.path.realpath(output))
        if real in known:
            raise ConfigError(f"{known[real]} and {output} are one output; expected two names")
        known[real] = output
    with ExitStack() as stack:
        for real, output in known.items():
            if real.is_file() or real.is_dir() or not real.exists():
                stack.enter_context(_locked(real, output))
        yield


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse an output that is one of the call's inputs, under whatever name.

    Args:
        outputs: files or folders.
        inputs: files or folders; a folder stands for itself, not for what is in it.

    Raises:
        ConfigError: an output is an input.
    """
    taken = {_identity(output): output for output in outputs}
    for one in inputs:
        output = taken.get(_identity(one))
        if output is not None:
            raise ConfigError(
                f"{output} would be overwritten, and this call reads it; "
                "expected another name for the output"
            )


def refuse_existing(output: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file that is there, unless that was asked for.

    Args:
        output: the file; an empty one holds nothing that could be lost.
        overwrite: whether it may be replaced.

    Raises:
        ConfigError: there is a file with something in it, or a folder.
    """
    if output.is_dir():
        raise ConfigError(f"{output} is a folder; expected the name of a file")
    if output.is_file() and output.stat().st_size and not overwrite:
        raise ConfigError(
            f"{output} exists already; another name keeps it, --overwrite replaces it"
        )


@contextmanager
def writing(output: Path) -> Iterator[None]:
    """Turn what goes wrong with files in the block into an error of the call.

    Args:
        output: what is written in the block.

    Yields:
        Nothing.

    Raises:
        ConfigError: it cannot be written, as where the disk is full.

    Examples:
        >>> with writing(Path("missing/tags.csv")):
        ...     Path("missing/tags.csv").write_text("")
        Traceback (most recent call last):
            ...
        audiomamba.errors.ConfigError: missing/tags.csv cannot be written: no such file or directory
    """
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error) or "no reason is known").lower()
        raise ConfigError(f"{output} cannot be written: {reason}") from error


def _identity(path: Path) -> tuple[int, int] | str:
    """What is the same for all names of a file or folder."""
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


@contextmanager
def _locked(real: Path, output: Path) -> Iterator[None]:
    """Hold the lock of one output; real is its real path, output what messages call it."""
    above = [folder for folder in real.parents if not folder.exists()]
    with writing(output):
        real.parent.mkdir(parents=True, exist_ok=True)
    try:
        with writing(output):
            lock, descriptor = _take(real, output)
        try:
            yield
        finally:
            _free(lock, descriptor)
    finally:
        for folder in above:
            with suppress(OSError):  # what was written there keeps it
                folder.rmdir()


def _take(real: Path, output: Path) -> tuple[Path, int]:
    """Open and lock the file beside the output; one of this machine's where it has no locks."""
    beside = real.with_name(f".{_not_too_long(real.name)}.lock")
    try:
        return beside, _take_file(beside, output)
    except OSError as error:
        if error.errno not in NO_LOCKS_HERE:
            raise
    with suppress(OSError):
        beside.unlink()
    digest = sha256(os.fsencode(real)).hexdigest()[:16]
    elsewhere = Path(gettempdir(), f"audiomamba-{digest}.lock")
    return elsewhere, _take_file(elsewhere, output)


def _take_file(lock: Path, output: Path) -> int:
    """Open and lock a file; one that was removed meanwhile, by who held it, is not the lock."""
    while True:
        descriptor = _open(lock)
        try:
            if not _try_lock(descriptor):
                raise ConfigError(
                    f"{output} is being written by another call, {_holder(descriptor)}; "
                    "wait for its end, or give another name"
                )
            if sys.platform == "win32" or _is_at(lock, descriptor):
                with suppress(OSError):  # a full disk, or a file of somebody else
                    os.truncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()} {platform.node()}".encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _not_too_long(name: str) -> str:
    """A name that leaves room for what is added to it."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= LONGEST_NAME else encoded[:LONGEST_NAME].decode(errors="ignore")


def _free(lock: Path, descriptor: int) -> None:
    """Remove the file while nobody else can hold it, then give the lock back."""
    with suppress(OSError):
        if sys.platform != "win32":
            lock.unlink()
        _unlock(descriptor)
    os.close(descriptor)
    if sys.platform == "win32":
        with suppress(OSError):  # open files stay there
            lock.unlink()


def _open(lock: Path) -> int:
    """Open the file, or make it; one that another user left can only be read."""
    flags = getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except PermissionError:
        if not lock.exists():
            raise
        return os.open(lock, os.O_RDONLY | flags)


def _is_at(lock: Path, descriptor: int) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(lock.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> str:
    """Who holds the lock, in words; who has just taken it writes that down after it."""
    for _ in range(ASK_AGAIN):
        with suppress(OSError, ValueError):
            os.lseek(descriptor, 0, os.SEEK_SET)
            number, _, machine = os.read(descriptor, 1000).decode().partition(" ")
            where = "" if machine == platform.node() else f" on {machine}"
            return f"process {int(number)}{where}"
        time.sleep(ASK_EVERY_S)
    return "whose process is not known"


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        """Lock an open file, if nobody else has."""
        os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLK):
                return False
            raise
        os.lseek(descriptor, 0, os.SEEK_SET)
        return True

    def _unlock(descriptor: int) -> None:
        """Give the lock back."""
        os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        """Lock an open file, if nobody else has."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(descriptor: int) -> None:
        """Give the lock back, also for processes that were forked."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)
