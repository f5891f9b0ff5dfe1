"""The registry of released weights: what they are, what they score, where they are.

The registry itself is the file released.toml beside this one. All figures are those that others
report; who and where is said with each. Nobody here has had most of the files in hand: a size or a
hash stands there only where it is published, and a file without one is unverified.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from audiomamba.errors import UnknownNameError
from audiomamba.hub.address import HUB, HubAddress, WebAddress

__all__ = ["RELEASED", "RELEASED_BY_NAME", "Released", "get_released", "released_of"]

REGISTRY = "released.toml"
UNVERIFIED = "unverified"


@dataclass(frozen=True, kw_only=True)
class Released:
    """One set of released weights.

    Args:
        name: what to call it here.
        model: the name of the model that it is of.
        origin: whose form the file has, a name of checkpoints.ORIGINS.
        corpus: what it was trained on last, whose classes are its labels; "none" if it was trained
            without labels.
        start: what it was trained from: "scratch", "imagenet" or "audioset".
        metric: what the score is: "mAP" or "accuracy"; "none" without labels.
        source: who reports the score, and where.
        license: of the weights or, where none is stated, of the authors' code; an SPDX identifier.
        score: the reported figure on that corpus, in percent; None where none is.
        direction: form of its mixer, as in models.AuMConfig; None where it has none to choose.
        repo: its repository on the Hugging Face hub.
        revision: of the repository.
        folder: the start of the file's address on the web.
        page: the page that links the file, where a program cannot fetch it.
        files: names of the file, the first that is there is taken.
        size: bytes of the file; None where it is not published.
        sha256: of the file; None where it is not published.

    Examples:
        >>> get_released("cnn14_audioset").score
        43.1
    """

    name: str
    model: str
    origin: str
    corpus: str
    start: str
    metric: str
    source: str
    license: str
    score: float | None = None
    direction: str | None = None
    repo: str | None = None
    revision: str = "main"
    folder: str | None = None
    page: str | None = None
    files: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None

    @property
    def location(self) -> HubAddress | WebAddress | None:
        """Where a program can fetch it; None if it cannot."""
        if self.repo:
            return HubAddress(
                repo=self.repo, revision=self.revision, files=self.files, sha256=self.sha256
            )
        if self.folder:
            url = self.folder + quote(self.files[0], safe="()")
            return WebAddress(url=url, sha256=self.sha256, size=self.size)
        return None

    @property
    def address(self) -> str:
        """Where a reader finds it: the repository, the file, or the page that links the file."""
        if self.repo:
            return f"{HUB}/{self.repo}"
        return str(self.location or self.page)

    @property
    def hash_text(self) -> str:
        """The published SHA-256, or that there is none."""
        return self.sha256 or UNVERIFIED


def get_released(name: str) -> Released:
    """Return what is known of released weights.

    Args:
        name: of the weights.

    Returns:
        The record.

    Raises:
        UnknownNameError: there are none of that name.

    Examples:
        >>> get_released("dass_medium_audioset").repo
        'saurabhati/DASS_medium_AudioSet_50.2'
    """
    if name not in RELEASED_BY_NAME:
        raise UnknownNameError("released weights", name, RELEASED_BY_NAME)
    return RELEASED_BY_NAME[name]


def released_of(pattern: str) -> tuple[Released, ...]:
    """Find released weights by their names or by the names of their models.

    Args:
        pattern: a name, in which * stands for anything.

    Returns:
        The records, in the order of the registry.

    Examples:
        >>> [it.name for it in released_of("dass_medium")][0]
        'dass_medium_audioset'
    """
    return tuple(
        it for it in RELEASED if fnmatchcase(it.name, pattern) or fnmatchcase(it.model, pattern)
    )


def _records(registry: Mapping[str, Any]) -> tuple[Released, ...]:
    """The records of a registry, each with what its group says."""
    known = {field.name for field in fields(Released)}
    found = []
    for group in registry["group"]:
        shared = {key: value for key, value in group.items() if key in known}
        for name, own in group["weights"].items():
            values = shared | own | {"name": name}
            found.append(Released(**values | {"files": tuple(values.get("files", ()))}))
    return tuple(found)


RELEASED: tuple[Released, ...] = _records(
    tomllib.loads(files("audiomamba.hub").joinpath(REGISTRY).read_text("utf-8"))
)
RELEASED_BY_NAME: Mapping[str, Released] = {it.name: it for it in RELEASED}
