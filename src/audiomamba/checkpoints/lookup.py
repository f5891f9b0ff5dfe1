"""Finding a model by what a user calls it: a name, a folder, a file or an address.

Nothing is fetched unless its name or address was given, and nothing twice: a file of weights
becomes a model folder in the cache.
"""

from hashlib import file_digest
from importlib.resources import files
from pathlib import Path

from audiomamba.checkpoints.fetched import Weights, converted, fetch
from audiomamba.errors import CheckpointError, ConfigError, UnknownNameError
from audiomamba.hub import (
    ENDINGS,
    RELEASED_BY_NAME,
    HubAddress,
    Released,
    WebAddress,
    is_address,
    parse_address,
)

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


def find(name_or_folder: str | Path, *, refresh: bool = False) -> Path:
    """Find a model folder, or make one of released weights.

    What was fetched once is found without the network. Only for a branch of a repository the hub is
    asked each time whether it has something newer; if it cannot be reached, what is there is used,
    with a warning.

    Args:
        name_or_folder: the name of a model that ships with the package or was released, a folder,
            a file of weights as its authors released it, "hf:org/name[@revision]", or
            "https://host/file".
        refresh: fetch it anew if it is another one by now.

    Returns:
        The folder.

    Raises:
        UnknownNameError: none of these.
        ConfigError: an address is not well-formed, nothing is there, or it is the name of a model
            that shipped with earlier versions.
        DownloadError: the weights cannot be fetched, or are not what was published.
        CheckpointError: the weights are of no known origin, would run code, or are linked on a page
            where no program can fetch them.
        MissingDependencyError: huggingface_hub is needed and not installed.

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
        return converted(Weights(path, path.stem, _digest(path)))
    if name in RELEASED_BY_NAME:
        return fetch(_location(RELEASED_BY_NAME[name]), name, name, refresh=refresh)
    if is_address(name):
        address = parse_address(name)
        return fetch(address, name, _short_name(address), refresh=refresh)
    if name in NO_LONGER_PACKAGED:
        raise ConfigError(
            f"the model {name!r} is no longer part of audiomamba; use {NO_LONGER_PACKAGED[name]}"
        )
    raise UnknownNameError("model or model folder", name, [*packaged(), *RELEASED_BY_NAME])


def _location(record: Released) -> HubAddress | WebAddress:
    """Where released weights can be fetched."""
    if record.location is None:
        raise CheckpointError(
            f"{record.name} is linked on {record.page}, where no program can fetch it: get the "
            "file, then give its path as the model, or audiomamba convert FILE OUT"
        )
    return record.location


def _short_name(address: HubAddress | WebAddress) -> str:
    """What to call a model of which only the address is known."""
    if isinstance(address, WebAddress):
        return Path(address.file).stem
    return address.repo.partition("/")[2]


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()
