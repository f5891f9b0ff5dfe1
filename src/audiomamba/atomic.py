"""Files that are either complete or as they were, whatever stops the program."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["replace_folder", "replacing", "write_bytes", "write_json", "write_text"]


@contextmanager
def replacing(path: Path, *, unique: bool = False) -> Iterator[Path]:
    """Give a new path in the same folder; what is written there takes the place of a file.

    When the block ends without an error, the new file is flushed to disk and renamed. When it ends
    with one, the new file is deleted and the old one stays. A link stays, and what it leads to is
    replaced; permissions stay too. What is no file, such as a pipe, is written to directly.

    Args:
        path: the file to replace, or to make.
        unique: whether the new path has this process's number in it, because several processes may
            write the file at once; the last one wins.

    Yields:
        The path to write to: the file's own, after all links, with ".part" after it.

    Raises:
        OSError: the new file is not there, cannot be flushed, or cannot be renamed.

    Examples:
        >>> path = Path("clips.txt")
        >>> with replacing(path) as part:
        ...     _ = part.write_text("1.wav")
        >>> path.read_text()
        '1.wav'
    """
    if path.exists() and not path.is_file():
        yield path
        return
    target = Path(os.path.realpath(path))
    part = target.with_name(
        f"{target.name}.{os.getpid()}.part" if unique else f"{target.name}.part"
    )
    try:
        yield part
        with part.open("rb+") as file:  # a rename may reach the disk before the content does
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)  # after a rename it is gone


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, completely or not at all.

    Args:
        path: the file.
        data: what to write.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str, *, errors: str = "strict") -> None:
    """Write a text file in UTF-8, completely or not at all.

    Args:
        path: the file.
        text: what to write.
        errors: what happens to what UTF-8 cannot write, as for `open`.

    Raises:
        OSError: it cannot be written.
    """
    write_bytes(path, text.encode("utf-8", errors))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file, completely or not at all.

    Args:
        path: the file.
        values: what to write.

    Raises:
        OSError: it cannot be written.
    """
    write_text(path, json.dumps(values, indent=2) + "\n")


def replace_folder(new: Path, folder: Path) -> None:
    """Put a complete folder in the place of another.

    Args:
        new: the new folder, on the same disk.
        folder: where it goes; what is there is deleted.

    Raises:
        OSError: it cannot be renamed.
    """
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
