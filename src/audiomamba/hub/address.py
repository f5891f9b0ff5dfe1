"""Addresses of weights: a repository of the Hugging Face hub, or a file on the web."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from audiomamba.errors import ConfigError

__all__ = ["ENDINGS", "HUB", "HubAddress", "WebAddress", "is_address", "parse_address"]

ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")  # of files that hold weights as data
HUB = "https://huggingface.co"
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_HUB = "hf:"
_NAME = r"[A-Za-z0-9](?:[\w.\-]{0,94}[\w])?"
_REPOSITORY = re.compile(rf"({_NAME}/{_NAME})(?:/([^@]+?))?(?:@([\w.\-/]+))?")


@dataclass(frozen=True, kw_only=True)
class HubAddress:
    """A repository of the Hugging Face hub, at one revision.

    Args:
        repo: its name, "organization/name".
        revision: a branch, a tag or a commit.
        files: names of the file of weights, the first that is there is taken; empty for the only
            one.
        sha256: what the first of the files hashes to; None where that is not known.

    Examples:
        >>> print(parse_address("hf:org/name/model.safetensors@v2"))
        hf:org/name/model.safetensors@v2
    """

    repo: str
    revision: str = "main"
    files: tuple[str, ...] = ()
    sha256: str | None = None

    def __str__(self) -> str:
        file = f"/{self.files[0]}" if len(self.files) == 1 else ""
        revision = "" if self.revision == "main" else f"@{self.revision}"
        return f"{_HUB}{self.repo}{file}{revision}"


@dataclass(frozen=True, kw_only=True)
class WebAddress:
    """One file on the web.

    Args:
        url: where it is.
        sha256: what its bytes hash to; None where that is not known.
        size: how many bytes it has; None where that is not known.

    Examples:
        >>> parse_address("https://zenodo.org/files/Cnn14_mAP%3D0.431.pth").file
        'Cnn14_mAP=0.431.pth'
    """

    url: str
    sha256: str | None = None
    size: int | None = None

    @property
    def file(self) -> str:
        """The file's name."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name

    def __str__(self) -> str:
        return self.url


def is_address(text: str) -> bool:
    """Tell whether text is meant as an address.

    Args:
        text: what a user gave as a model.

    Returns:
        True if it starts as one; whether it is well-formed is not said.

    Examples:
        >>> is_address("hf:org/name"), is_address("https://a.org/b.pth"), is_address("models/mine")
        (True, True, False)
    """
    return text.startswith((_HUB, "https://", "http://"))


def parse_address(text: str) -> HubAddress | WebAddress:
    """Read an address.

    Args:
        text: "hf:org/name", "hf:org/name@revision", "hf:org/name/file@revision", or
            "https://host/file". Without encryption ("http://") only this machine is reached.

    Returns:
        The address.

    Raises:
        ConfigError: it is not well-formed, or its file can hold no weights.

    Examples:
        >>> parse_address("hf:org/name@v1.0")
        HubAddress(repo='org/name', revision='v1.0', files=(), sha256=None)
        >>> parse_address("hf:name")
        Traceback (most recent call last):
        audiomamba.errors.ConfigError: 'hf:name' is no address; expected hf:org/name, ...
    """
    if text.startswith(_HUB):
        return _hub_address(text)
    parts = urlsplit(text)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ConfigError(f"{text!r} is not encrypted; expected an address with https://")
    address = WebAddress(url=text)
    if not parts.hostname or not address.file.endswith(ENDINGS):
        raise ConfigError(
            f"{text!r} is no address of weights; expected https://host/file, the file's name "
            f"ending in {', '.join(ENDINGS)}"
        )
    return address


def _hub_address(text: str) -> HubAddress:
    found = _REPOSITORY.fullmatch(text.removeprefix(_HUB))
    if found is None or ".." in text or "--" in text:
        raise ConfigError(
            f"{text!r} is no address; expected hf:org/name, hf:org/name@revision or "
            "hf:org/name/file@revision"
        )
    repo, file, revision = found.groups()
    if file and not file.endswith(ENDINGS):
        raise ConfigError(
            f"{text!r}: {file} can hold no weights; expected an ending of {', '.join(ENDINGS)}"
        )
    return HubAddress(repo=repo, revision=revision or "main", files=(file,) if file else ())
