"""Finding a model by what a user calls it: a name, a folder, a file or an address.

Nothing is fetched unless its name or address was given, and nothing twice: a file of weights
becomes a model folder in the cache.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from hashlib import file_digest
from importlib.resources import files
from pathlib import Path

from audiomamba.checkpoints.convert import CONVERTER, read_released
from audiomamba.checkpoints.format import save
from audiomamba.errors import CheckpointError, ConfigError, UnknownNameError
from audiomamba.hub import ENDINGS, RELEASED_BY_NAME, cached_model, is_address, making

__all__ = ["find", "is_model", "packaged"]

NO_LONGER_PACKAGED = {  # name: what to use for it
    "starter": "'general', which knows its ten kinds and many more, or train it by esc10/starter",
}


def packaged() -> list[str]:
    """The names of the models whose weights ship with the package.

    Returns:
        Names that `find` takes, sorted.

    Examples:
        >>> "general" in packaged()
        True
    """
    weights = files("audiomamba").joinpath("weights")
    if not weights.is_dir():
        return []
    return sorted(entry.name for entry in weights.iterdir() if entry.is_dir())


def is_model(text: str | Path) -> bool:
    """Tell whether something names a model with weights, without looking at the weights.

    Args:
        text: as for find.

    Returns:
        True for the name of a model that ships with the package or was released, an address, a
        folder, and a file of weights.

    Examples:
        >>> is_model("general"), is_model("dass_medium_audioset"), is_model("dass_medium")
        (True, True, False)
    """
    name = str(text)
    known = name in packaged() or name in RELEASED_BY_NAME or is_address(name)
    path = Path(text)
    return known or path.is_dir() or (path.is_file() and path.name.endswith(ENDINGS))


def find(name_or_folder: str | Path) -> Path:
    """Find a model folder, or make one of released weights.

    Args:
        name_or_folder: the name of a model that ships with the package or was released, a folder,
            a file of weights as its authors released it, "hf:org/name[@revision]", or
            "https://host/file".

    Returns:
        The folder.

    Raises:
        UnknownNameError: none of these.
        ConfigError: the name of a model that shipped with earlier versions.
        CheckpointError: the weights are of no known origin, or are linked on a page where no
            program can fetch them.

    Examples:
        >>> find("general").name
        'general'
    """
    name, path = str(name_or_folder), Path(name_or_folder)
    if name in packaged():
        return Path(str(files("audiomamba").joinpath("weights", name)))
    if path.is_dir():
        return path
    if path.is_file():
        return _converted(path, path.stem, ())
    if name in RELEASED_BY_NAME:
        return _released(name)
    if name in NO_LONGER_PACKAGED:
        raise ConfigError(
            f"the model {name!r} is no longer part of audiomamba; use {NO_LONGER_PACKAGED[name]}"
        )
    raise UnknownNameError("model or model folder", name, [*packaged(), *RELEASED_BY_NAME])


def _released(name: str) -> Path:
    """The folder of released weights."""
    record = RELEASED_BY_NAME[name]
    raise CheckpointError(
        f"{name} is linked on {record.page}, where no program can fetch it: get the file, then "
        "give its path as the model, or audiomamba convert FILE OUT"
    )


def _converted(file: Path, name: str, labels: Sequence[str]) -> Path:
    """The model folder of a released file, made if it is not in the cache."""
    with file.open("rb") as opened:
        digest = file_digest(opened, "sha256").hexdigest()
    key = f"{_plain(name)}--{digest[:16]}--c{CONVERTER}"
    if not cached_model(key).is_dir():
        checkpoint, _ = read_released(file, name=name, labels=labels or None)
        notes = dict(checkpoint.notes) | {"file": file.name, "sha256": digest}
        with making(key) as aside:
            save(aside, replace(checkpoint, notes=notes))
    return cached_model(key)


def _plain(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^\w.-]+", "-", name)[:100]
