"""Recipes to and from plain data, and changes to single fields, all checked against the types."""

import json
import types
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.recipes.schema import Recipe

__all__ = ["from_dict", "override", "to_dict"]

T = TypeVar("T")


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """Turn a recipe into dictionaries, lists, numbers and strings.

    Args:
        recipe: the recipe.

    Returns:
        What json.dump can write.
    """
    plain: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return plain


def from_dict(values: Mapping[str, Any]) -> Recipe:
    """Make a recipe of what to_dict gave.

    Args:
        values: the fields by name.

    Returns:
        The recipe.

    Raises:
        ConfigError: a field is unknown, missing, or has a value of another type.
    """
    return _build(Recipe, values, "")


def override(recipe: Recipe, changes: Iterable[str]) -> Recipe:
    """Change fields of a recipe.

    Args:
        recipe: the recipe.
        changes: texts such as "epochs=20", "augment.speed=0.9,1.1", "ema_decay=none" or
            "model_changes.depth=2".

    Returns:
        The changed recipe.

    Raises:
        ConfigError: a text is not NAME=VALUE, there is no such field, or the value has another
            type or is out of range.
    """
    values = to_dict(recipe)
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise ConfigError(f"{change!r} is not a change; expected NAME=VALUE")
        _set(values, Recipe, name.strip(), text.strip())
    return from_dict(values)


def _set(values: dict[str, Any], kind: type[Any], name: str, text: str) -> None:
    """Put a text's value at its place in the dictionaries of a recipe."""
    *groups, last = name.split(".")
    hint: Any = kind
    for group in groups:
        hint = _field(hint, group, name)
        values = values[group]
    hint = _field(hint, last, name)
    if is_dataclass(hint) or get_origin(hint) is Mapping:
        raise ConfigError(f"{name} is a group of settings; expected {name}.FIELD=VALUE")
    values[last] = _parse(text, hint, name)


def _field(hint: Any, field_name: str, name: str) -> Any:
    """The type of a field of a group of settings; Any in a free table."""
    if get_origin(hint) is Mapping:
        return Any
    if not is_dataclass(hint):
        raise ConfigError(f"{name}: there is no field {field_name!r} in a single value")
    hints = _hints(hint)
    if field_name not in hints:
        raise UnknownNameError(f"setting {name!r}: field", field_name, hints)
    return hints[field_name]


def _build(kind: type[T], values: Mapping[str, Any], prefix: str) -> T:
    """Make a dataclass of a mapping, with every value checked."""
    hints = _hints(kind)
    for name in values:
        if name not in hints:
            raise UnknownNameError(f"setting {prefix + name!r}: field", name, hints)
    checked = {name: _check(value, hints[name], prefix + name) for name, value in values.items()}
    try:
        return kind(**checked)
    except TypeError as error:
        missing = [name for name in hints if name not in values]
        raise ConfigError(f"settings are missing, among {', '.join(missing)}") from error


def _check(value: Any, hint: Any, name: str) -> Any:
    """Return a plain value as the type that is asked for."""
    if get_origin(hint) in (Union, types.UnionType):
        return None if value is None else _check(value, _without_none(hint), name)
    if get_origin(hint) is tuple:
        return _check_tuple(value, hint, name)
    if isinstance(value, Mapping):
        if is_dataclass(hint) and isinstance(hint, type):
            return _build(hint, value, f"{name}.")
        if get_origin(hint) is Mapping:
            return {
                key: tuple(part) if isinstance(part, list) else part for key, part in value.items()
            }
    if hint is float and type(value) is int:
        return float(value)
    allowed = value in get_args(hint) if get_origin(hint) is Literal else type(value) is hint
    if not allowed:
        raise ConfigError(f"{name} is {value!r}; expected {_describe(hint)}")
    return value


def _check_tuple(value: Any, hint: Any, name: str) -> tuple[Any, ...]:
    """Return a list of plain values as the tuple that is asked for."""
    kinds = get_args(hint)
    if kinds[-1] is Ellipsis and isinstance(value, list | tuple):
        kinds = kinds[:1] * len(value)
    if not isinstance(value, list | tuple) or len(value) != len(kinds):
        raise ConfigError(f"{name} is {value!r}; expected {_describe(hint)}")
    return tuple(_check(part, kind, name) for part, kind in zip(value, kinds, strict=True))


def _parse(text: str, hint: Any, name: str) -> Any:
    """Read a text as the type that is asked for."""
    if hint is Any:
        return [_guess(part) for part in text.split(",")] if "," in text else _guess(text)
    if get_origin(hint) in (Union, types.UnionType):
        return None if text.lower() == "none" else _parse(text, _without_none(hint), name)
    if hint is str or get_origin(hint) is Literal:
        return _check(text, hint, name)
    if get_origin(hint) is tuple:
        parts = [part.strip() for part in text.split(",")]
        return _check(parts if str in get_args(hint) else list(map(_guess, parts)), hint, name)
    return _check(_guess(text), hint, name)


def _guess(text: str) -> bool | int | float | str:
    """Read a text as a truth value or a number if it is one."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _hints(kind: Any) -> dict[str, Any]:
    """The types of a dataclass's fields by name."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _without_none(hint: Any) -> Any:
    """The type in an optional type."""
    return next(kind for kind in get_args(hint) if kind is not type(None))


def _describe(hint: Any) -> str:
    """A type in words."""
    if get_origin(hint) is Literal:
        return " or ".join(repr(value) for value in get_args(hint))
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        n_values = "" if kinds[-1] is Ellipsis else f"{len(kinds)} "
        return f"{n_values}values with a comma between them"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return words.get(hint, "a group of settings")
