"""The cache of models that were fetched or converted, one folder for each.

    models/NAME/           a model folder, complete; NAME holds its commit or hash and the version
                           of the converter that made it
    fetched/HASH.json      which of them an address led to last
    files/HASH/            a file from the web on its way here
    checked/HASH.json      that a file has the hash that the hub publishes

A model folder is made aside and renamed, so that it is complete or not there, whatever stops the
program. Nothing here is needed by anything else: all of it may be deleted at any time.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from audiomamba.atomic import write_json
from audiomamba.errors import ConfigError
from audiomamba.outputs import sole_writer, writing

__all__ = [
    "CacheEntry",
    "alone",
    "cache_folder",
    "cached_model",
    "clear_cache",
    "forget",
    "is_checked",
    "list_cache",
    "making",
    "note_checked",
    "recall",
    "remember",
    "web_folder",
]

VARIABLE = "AUDIOMAMBA_CACHE"
MODELS, FETCHED, FILES, CHECKED = "models", "fetched", "files", "checked"
LOCKS = "locks"
WAIT_S = 0.2
ASIDE = ".part-"


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """What an address led to.

    Args:
        address: as it was given, or the name of released weights.
        folder: the model folder, in the cache or among the files of the Hugging Face hub.
        commit: of the repository; None for a file from the web.
        sha256: of the file of weights that was fetched.
        converter: version of the converter that made the folder; None for a folder as it was
            fetched.

    Examples:
        >>> CacheEntry(address="hf:org/name", folder="/models/a", sha256="0" * 64).commit is None
        True
    """

    address: str
    folder: str
    sha256: str
    commit: str | None = None
    converter: int | None = None


def cache_folder() -> Path:
    """Where the cache is.

    Returns:
        The folder that the variable AUDIOMAMBA_CACHE names, else the one for such files on this
        platform. It need not exist.

    Examples:
        >>> cache_folder().is_absolute()
        True
    """
    if given := os.environ.get(VARIABLE):
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser() / "audiomamba"
    if sys.platform == "darwin":
        return Path("~/Library/Caches/audiomamba").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "audiomamba"


def cached_model(name: str) -> Path:
    """Where a model folder of the cache is.

    Args:
        name: of the folder.

    Returns:
        The folder; if it is there, it is complete.

    Examples:
        >>> cached_model("dass_small-0123").name
        'dass_small-0123'
    """
    return cache_folder() / MODELS / name


@contextmanager
def making(name: str) -> Iterator[Path]:
    """Make a model folder of the cache.

    Args:
        name: of the folder.

    Yields:
        The folder to write into, aside; it becomes cached_model(name) when the block ends without
        an error, unless somebody else made that meanwhile.

    Examples:
        >>> with making("tiny") as folder:
        ...     (folder / "config.json").write_text("{}")
        2
        >>> [path.name for path in cached_model("tiny").iterdir()]
        ['config.json']
    """
    folder = cached_model(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=ASIDE, dir=folder.parent))
    try:
        yield aside
        aside.chmod(0o755)
        with suppress(OSError):  # there is a complete one already
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def remember(entry: CacheEntry) -> None:
    """Note what an address led to.

    Args:
        entry: the note; an older one of the same address is replaced.

    Examples:
        >>> with making("mine") as folder:
        ...     (folder / "config.json").write_text("{}")
        2
        >>> entry = CacheEntry(
        ...     address="hf:me/mine", folder=str(cached_model("mine")), sha256="0" * 64
        ... )
        >>> remember(entry)
        >>> recall("hf:me/mine") == entry
        True
    """
    path = _note_of(entry.address)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(entry))


def recall(address: str) -> CacheEntry | None:
    """Look up what an address led to last.

    Args:
        address: as for CacheEntry.

    Returns:
        The note; None if there is none, or its folder is gone.

    Examples:
        >>> recall("hf:nobody/nothing") is None
        True
    """
    return _read(_note_of(address))


def forget(address: str) -> None:
    """Delete the note of what an address led to.

    Args:
        address: as for CacheEntry.

    Examples:
        >>> forget("hf:me/mine")
        >>> recall("hf:me/mine") is None
        True
    """
    _note_of(address).unlink(missing_ok=True)


def list_cache() -> list[tuple[CacheEntry, int]]:
    """List what addresses led to.

    Returns:
        The notes by address, each with the bytes of its folder.

    Examples:
        >>> sum(n_bytes for _, n_bytes in list_cache()) >= 0
        True
    """
    notes = map(_read, sorted((cache_folder() / FETCHED).glob("*.json")))
    found = sorted((it for it in notes if it), key=lambda it: it.address)
    return [(it, folder_size(Path(it.folder))) for it in found]


def clear_cache() -> int:
    """Delete the cache.

    What huggingface_hub keeps in its own cache is left alone.

    Returns:
        How many bytes there were.

    Examples:
        >>> with making("useless") as folder:
        ...     (folder / "config.json").write_text("{}")
        2
        >>> clear_cache() > 0, clear_cache()
        (True, 0)
    """
    root, size = cache_folder(), 0
    for part in (MODELS, FETCHED, FILES, CHECKED):
        size += folder_size(root / part)
        shutil.rmtree(root / part, ignore_errors=True)
    with suppress(OSError):  # somebody keeps something else there
        root.rmdir()
    return size


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Be the only one, in any process, that works on something of the cache; wait for others.

    Args:
        name: of what it is.

    Yields:
        Nothing.

    Raises:
        ConfigError: the cache cannot be written.

    Examples:
        >>> with alone("dass_small_audioset"):
        ...     print("nobody else works on it")
        nobody else works on it
    """
    lock = cache_folder() / LOCKS / _short_hash(name)
    with writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(sole_writer(lock))
                break
            except ConfigError as error:
                if isinstance(error.__cause__, OSError):
                    raise
                time.sleep(WAIT_S)
        yield


def is_checked(path: Path, digest: str) -> bool:
    """Tell whether a file was found to have a hash, and has not changed since.

    Args:
        path: the file, or a link to it.
        digest: the hash.
    """
    try:
        noted = json.loads(_check_note(path).read_text("utf-8"))
        return bool(noted == _state_of(path, digest))
    except (OSError, ValueError):
        return False


def note_checked(path: Path, digest: str) -> None:
    """Note that a file has a hash.

    Args:
        path: the file, or a link to it.
        digest: the hash.
    """
    note = _check_note(path)
    note.parent.mkdir(parents=True, exist_ok=True)
    write_json(note, _state_of(path, digest))


def folder_size(folder: Path) -> int:
    """How many bytes the files of a folder have."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def web_folder(url: str) -> Path:
    """Where a file from the web comes to.

    Args:
        url: its address.

    Returns:
        A folder of its own, which need not exist.

    Examples:
        >>> web_folder("https://host/a.pth") == web_folder("https://host/b.pth")
        False
    """
    return cache_folder() / FILES / _short_hash(url)


def _short_hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _note_of(address: str) -> Path:
    return cache_folder() / FETCHED / f"{_short_hash(address)}.json"


def _check_note(path: Path) -> Path:
    return (
        cache_folder() / CHECKED / f"{sha256(str(path.resolve()).encode()).hexdigest()[:16]}.json"
    )


def _state_of(path: Path, digest: str) -> dict[str, Any]:
    """What changes when a file does."""
    status = path.stat()
    return {"size": status.st_size, "modified": status.st_mtime_ns, "hash": digest}


def _read(path: Path) -> CacheEntry | None:
    try:
        values: Any = json.loads(path.read_text("utf-8"))
        entry = CacheEntry(**values)
    except (OSError, ValueError, TypeError):
        return None
    return entry if Path(entry.folder, "config.json").is_file() else None
