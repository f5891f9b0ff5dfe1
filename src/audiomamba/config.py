"""Frozen dataclasses of settings: their checks, and their way to and from plain data and texts.

The annotations are the rules. A plain `int` is a count, a whole number of at least 1, and a plain
`float` is finite and at least 0, as nearly all settings of models and runs are. A field that may
have other values says so: `Annotated[float, Range(0, 1)]`, or one of the names below for it. A
`tuple[int, ...]` has at least one value; one that may be empty is `tuple[int, ...] | tuple[()]`.
"""

import math
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from audiomamba.errors import ConfigError, UnknownNameError

__all__ = [
    "Fraction",
    "NotNegative",
    "Positive",
    "Range",
    "Real",
    "check",
    "from_plain",
    "override",
    "to_plain",
    "with_changes",
]

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """The numbers that a field may have; NaN and infinities are never among them.

    Args:
        low: the lowest one; None for no limit.
        high: the highest one; None for no limit.
        open_low: whether `low` itself is left out.
        open_high: whether `high` itself is left out.

    Examples:
        >>> 0 in Range(0, 1), 0 in Range(0, open_low=True), float("nan") in Range()
        (True, False, False)
    """

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        above = value > low if self.open_low else value >= low
        return above and (value < high if self.open_high else value <= high)

    def __str__(self) -> str:
        if self.low is None and self.high is None:
            return ""
        if not (self.low is None or self.high is None or self.open_low or self.open_high):
            return f" from {self.low:g} to {self.high:g}"
        low = (
            ""
            if self.low is None
            else f"{'above' if self.open_low else 'of at least'} {self.low:g}"
        )
        high = (
            "" if self.high is None else f"{'below' if self.open_high else 'at most'} {self.high:g}"
        )
        return " " + " and ".join(filter(None, (low, high)))


NotNegative = Annotated[int, Range(0)]
Positive = Annotated[float, Range(0, open_low=True)]
Fraction = Annotated[float, Range(0, 1)]
Real = Annotated[float, Range()]
_PLAIN: Mapping[Any, Any] = {int: Annotated[int, Range(1)], float: Annotated[float, Range(0)]}
_UNIONS = (Union, types.UnionType)
_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    type(None): "None",
}


def check(config: Any) -> None:
    """Check the values of a dataclass against the annotations of its fields.

    Understands int, float, bool, str, Literal, tuples of a fixed length or of any (`...`), nested
    dataclasses, mappings, unions, and numbers with a Range.

    Args:
        config: a dataclass instance; its `__post_init__` is the place to call this.

    Raises:
        ConfigError: a value does not fit; the message names the field and what is allowed.

    Examples:
        >>> @dataclass(frozen=True)
        ... class Crop:
        ...     n_frames: int
        ...     share: Fraction = 1.0
        >>> check(Crop(n_frames=100))
        >>> check(Crop(n_frames=0))
        Traceback (most recent call last):
        audiomamba.errors.ConfigError: Crop.n_frames is 0; expected a whole number of at least 1
    """
    for name, hint in _hints(type(config)).items():  # type: ignore[arg-type]
        value = getattr(config, name)
        if not _fits(value, hint):
            raise _misfit(f"{type(config).__name__}.{name}", value, hint)


def to_plain(config: Any) -> dict[str, Any]:
    """Turn a dataclass into dictionaries, lists, numbers and texts.

    Args:
        config: a dataclass instance.

    Returns:
        What json.dump can write.

    Examples:
        >>> from audiomamba.audio import FrontEnd
        >>> to_plain(FrontEnd(n_frames=128))["n_frames"]
        128
    """
    import json  # here, because most that import this module never need it

    plain: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return plain


def from_plain(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make a dataclass of what to_plain gave, with every value checked.

    Lists become tuples, mappings the dataclasses that the annotations name, and whole numbers
    floats where a float is asked for.

    Args:
        kind: the dataclass.
        values: its fields by name; those with a default may be missing.

    Returns:
        The instance.

    Raises:
        UnknownNameError: there is no such field.
        ConfigError: a field is missing, or its value does not fit.

    Examples:
        >>> from audiomamba.audio import FrontEnd
        >>> from_plain(FrontEnd, {"n_frames": 128, "low_hz": 50}).low_hz
        50.0
    """
    return _build(kind, values, "")


def with_changes(config: T, changes: Mapping[str, Any]) -> T:
    """Copy a dataclass with some fields changed, each checked as when it is made.

    Args:
        config: the instance, which stays as it is.
        changes: the new values by field.

    Returns:
        The changed copy.

    Raises:
        UnknownNameError: a name is not a field; the message offers the nearest ones.
        ConfigError: a value does not fit its field.

    Examples:
        >>> from audiomamba.audio import FrontEnd
        >>> with_changes(FrontEnd(), {"n_frames": 128}).n_frames
        128
    """
    known = list(_hints(type(config)))  # type: ignore[arg-type]
    for name in changes:
        if name not in known:
            raise UnknownNameError(f"field of {type(config).__name__}", name, known)
    return replace(config, **changes)  # type: ignore[type-var]


def override(config: T, changes: Iterable[str]) -> T:
    """Change fields of a dataclass by texts.

    Args:
        config: the instance, which stays as it is.
        changes: such as "epochs=20", "augment.speed=0.9,1.1", "ema_decay=none" or
            "model_changes.depth=2".

    Returns:
        The changed copy. All changes are made before the values are checked against each other.

    Raises:
        UnknownNameError: there is no such field.
        ConfigError: a text is not NAME=VALUE, or the value does not fit.

    Examples:
        >>> from audiomamba.audio import FrontEnd
        >>> override(FrontEnd(), ["n_frames=128", "high_hz=none"]).n_frames
        128
    """
    values = to_plain(config)
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise ConfigError(f"{change!r} is not a change; expected NAME=VALUE")
        _set(values, type(config), name.strip(), text.strip())
    return from_plain(type(config), values)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """The annotations of a dataclass's fields by name."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}


def _field(hint: Any, field_name: str, name: str) -> Any:
    """The annotation of a field of a group of settings; Any in a free table."""
    if get_origin(hint) is Mapping:
        return Any
    if not is_dataclass(hint):
        raise ConfigError(f"{name}: there is no field {field_name!r} in a single value")
    hints = _hints(hint)  # type: ignore[arg-type]
    if field_name not in hints:
        raise UnknownNameError(f"setting {name!r}: field", field_name, hints)
    return hints[field_name]


# What a value may be.


def _fits(value: object, hint: Any) -> bool:
    hint = _PLAIN.get(hint, hint)
    origin, options = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _is_number(value, options[0]) and value in options[1]
    if origin in _UNIONS:
        return any(_fits(value, option) for option in options)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in options)
    if origin is tuple:
        return isinstance(value, tuple) and _each_fits(value, options)
    return hint is Any or isinstance(value, origin or hint)


def _each_fits(values: tuple[object, ...], hints: tuple[Any, ...]) -> bool:
    if hints and hints[-1] is Ellipsis:
        return len(values) > 0 and all(_fits(value, hints[0]) for value in values)
    return len(values) == len(hints) and all(map(_fits, values, hints))


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)


def _misfit(name: str, value: object, hint: Any) -> ConfigError:
    return ConfigError(f"{name} is {value!r}; expected {_in_words(hint)}")


def _in_words(hint: Any) -> str:
    """An annotation in words."""
    hint = _PLAIN.get(hint, hint)
    origin, options = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return f"{_WORDS[options[0]]}{options[1]}"
    if origin in _UNIONS:
        return " or ".join(map(_in_words, options))
    if origin is Literal:
        return " or ".join(map(repr, options))
    if origin is tuple:
        return _tuple_in_words(options)
    if is_dataclass(hint) or origin is Mapping:
        return f"a group of settings, {getattr(hint, '__name__', hint)}"
    return _WORDS.get(hint, f"a {getattr(hint, '__name__', hint)}")


def _tuple_in_words(hints: tuple[Any, ...]) -> str:
    if not hints:
        return "nothing"
    if hints[-1] is Ellipsis:
        return f"a list of values, each {_in_words(hints[0])}"
    if len(set(hints)) == 1:
        return f"{len(hints)} values, each {_in_words(hints[0])}"
    return f"{len(hints)} values: {', '.join(map(_in_words, hints))}"


# From plain data.


def _build(kind: type[T], values: Mapping[str, Any], prefix: str) -> T:
    for name in values:
        _field(kind, name, prefix + name)
    missing = [
        prefix + field.name
        for field in fields(kind)  # type: ignore[arg-type]
        if field.name not in values and field.default is field.default_factory is MISSING
    ]
    if missing:
        raise ConfigError(f"settings are missing: {', '.join(missing)}")
    hints = _hints(kind)  # type: ignore[arg-type]
    return kind(
        **{name: _read(value, hints[name], prefix + name) for name, value in values.items()}
    )


def _read(value: Any, hint: Any, name: str) -> Any:
    """A plain value as what the annotation asks for."""
    found = _convert(value, hint, name)
    if not _fits(found, hint):
        raise _misfit(name, value, hint)
    return found


def _convert(value: Any, hint: Any, name: str) -> Any:
    """A list as a tuple, a mapping as a dataclass, a whole number as a float; else as it is."""
    origin, options = get_origin(hint), get_args(hint)
    if origin in _UNIONS:
        found = ((_convert(value, option, name), option) for option in options)
        return next((item for item, option in found if _fits(item, option)), value)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = options[:1] * len(value) if Ellipsis in options else options
        if len(kinds) != len(value):
            return tuple(value)
        return tuple(_convert(item, kind, name) for item, kind in zip(value, kinds, strict=True))
    if origin is Mapping and isinstance(value, Mapping):
        return {key: _frozen(item) for key, item in value.items()}
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return _build(hint, value, f"{name}.")
    is_float = hint is float or (origin is Annotated and options[0] is float)
    return float(value) if is_float and type(value) is int else value


def _frozen(value: Any) -> Any:
    """A value of a free table with its lists as tuples, as fields of settings have them."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    if isinstance(value, Mapping):
        return {key: _frozen(item) for key, item in value.items()}
    return value


# From texts.


def _set(values: dict[str, Any], hint: Any, name: str, text: str) -> None:
    """Put a text's value where its name says, in the dictionaries of a dataclass."""
    *groups, last = name.split(".")
    for group in groups:
        hint = _field(hint, group, name)
        values = values[group]
    hint = _field(hint, last, name)
    if is_dataclass(hint) or get_origin(hint) is Mapping:
        raise ConfigError(f"{name} is a group of settings; expected {name}.FIELD=VALUE")
    values[last] = _parse(text, hint, name)


def _parse(text: str, hint: Any, name: str) -> Any:
    """A text as the plain value that the annotation asks for."""
    if hint is Any:
        return [_guess(item) for item in text.split(",")] if "," in text else _guess(text)
    kind = hint
    if get_origin(hint) in _UNIONS:
        if text.lower() == "none" and type(None) in get_args(hint):
            return None
        kind = next(option for option in get_args(hint) if option is not type(None))
    is_text = kind is str or get_origin(kind) is Literal
    if get_origin(kind) is tuple:
        items = [item.strip() for item in text.split(",")]
        value: Any = items if str in get_args(kind) else list(map(_guess, items))
    else:
        value = text if is_text else _guess(text)
    return _read(value, hint, name)


def _guess(text: str) -> bool | int | float | str:
    """A text as a truth value or a number if it is one."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
