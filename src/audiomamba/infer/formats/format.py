"""What every format has, and the choice of one by a file's suffix or by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from audiomamba.errors import ConfigError, MissingDependencyError

__all__ = ["Format", "choose_by_name", "choose_by_suffix", "in_words", "suffixes_of"]


class Format:
    """A format of files or of text; each is a subclass.

    Class attributes: name, what options and messages call it; suffixes, what names of its files end
    in; needs, the package that it is written with and the extra that brings that, if any.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, str] | None] = None


Chosen = TypeVar("Chosen", bound=type[Format])


def choose_by_suffix(formats: Sequence[Chosen], out: Path, what: str) -> Chosen:
    """Choose the format that a file's name asks for, and check that it can be written.

    Args:
        formats: those to choose from.
        out: the file; upper and lower case of its suffix are the same.
        what: what is written, in words, such as "embeddings".

    Returns:
        The format.

    Raises:
        ConfigError: no format has this suffix, the file's folder does not exist, or it is a folder
            itself.
        MissingDependencyError: the format needs a package that is not installed.

    Examples:
        >>> from audiomamba.infer.formats.tags import TAG_TABLES
        >>> choose_by_suffix(TAG_TABLES, Path("tags.CSV"), "tags").name
        'csv'
    """
    if out.is_dir():
        raise ConfigError(
            f"{out} is a folder; expected the name of a file that ends in {suffixes_of(formats)}"
        )
    for chosen in formats:
        if out.suffix.lower() in chosen.suffixes:
            _check(chosen, out)
            return chosen
    raise ConfigError(
        f"{out}: no format for {what} has this suffix; "
        f"expected a name that ends in {suffixes_of(formats)}"
    )


def choose_by_name(formats: Sequence[Chosen], name: str) -> Chosen:
    """Choose a format by its name.

    Args:
        formats: those to choose from.
        name: what the format is called.

    Returns:
        The format.

    Raises:
        ConfigError: there is no such format.
        MissingDependencyError: the format needs a package that is not installed.
    """
    for chosen in formats:
        if chosen.name == name:
            _check(chosen, None)
            return chosen
    known = in_words([one.name for one in formats])
    raise ConfigError(f"format {name!r} is not known; expected {known}")


def suffixes_of(formats: Sequence[type[Format]]) -> str:
    """List the suffixes of formats.

    Args:
        formats: the formats.

    Returns:
        Such as ".csv, .jsonl or .parquet".
    """
    return in_words([suffix for one in formats for suffix in one.suffixes])


def in_words(names: Sequence[str]) -> str:
    """Join names.

    Args:
        names: at least one.

    Returns:
        Such as "a, b or c".
    """
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _check(chosen: type[Format], out: Path | None) -> None:
    """Say, before any work is done, if nothing can be written."""
    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"{out} cannot be written: there is no folder {out.parent}")
    if chosen.needs is None:
        return
    from importlib.util import find_spec

    if find_spec(chosen.needs[0]) is None:
        raise MissingDependencyError(*chosen.needs, f"writing {chosen.name}")
