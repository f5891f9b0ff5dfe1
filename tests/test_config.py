import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiomamba import config
from audiomamba.config import Fraction, NotNegative, Positive, Range, Real
from audiomamba.errors import ConfigError, UnknownNameError


@dataclass(frozen=True)
class Mask:
    width: NotNegative = 0
    share: Fraction = 0.5

    def __post_init__(self):
        config.check(self)


@dataclass(frozen=True)
class Settings:
    """One field of each kind."""

    count: int
    weight: float = 0.0
    offset: Real = 0.0
    rate: Positive | None = None
    decay: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    low: Annotated[int, Range(high=3)] = 0
    name: str = ""
    fast: bool = False
    kind: Literal["a", "b", 3] = "a"
    pair: tuple[int, Real] = (1, 0.0)
    many: tuple[int, ...] = (1,)
    some: tuple[str, ...] | tuple[()] = ()
    mask: Mask = field(default_factory=Mask)
    other: Mask | None = None
    places: Literal["none"] | Mask = "none"
    free: Mapping[str, int | str] = field(default_factory=dict)

    def __post_init__(self):
        config.check(self)


GOOD = Settings(count=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 1},
        {"weight": 3},
        {"offset": -2.5},
        {"rate": 1e-9},
        {"decay": 0.999},
        {"low": -5},
        {"kind": 3},
        {"pair": (2, -1)},
        {"many": (1, 2, 3)},
        {"some": ("x",)},
        {"other": Mask(1)},
        {"places": Mask(2)},
        {"free": {"depth": -1}},
    ],
)
def test_what_fits_is_taken_and_survives_json(changes):
    settings = replace(GOOD, **changes)
    plain = json.loads(json.dumps(config.to_plain(settings)))
    again = config.from_plain(Settings, plain)
    assert again == settings
    assert asdict(again) == asdict(settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "count is 0; expected a whole number of at least 1"),
        ({"count": True}, "count is True; expected a whole number of at least 1"),
        ({"count": 1.0}, "count is 1.0; expected a whole number of at least 1"),
        ({"weight": -0.1}, "weight is -0.1; expected a number of at least 0"),
        ({"weight": math.inf}, "weight is inf; expected a number of at least 0"),
        ({"offset": math.nan}, "offset is nan; expected a number"),
        ({"offset": "x"}, "offset is 'x'; expected a number"),
        ({"rate": 0.0}, "rate is 0.0; expected a number above 0 or None"),
        ({"decay": 1}, "decay is 1; expected a number of at least 0 and below 1"),
        ({"low": 4}, "low is 4; expected a whole number at most 3"),
        ({"name": 1}, "name is 1; expected a text"),
        ({"fast": 1}, "fast is 1; expected true or false"),
        ({"kind": "c"}, "kind is 'c'; expected 'a' or 'b' or 3"),
        ({"kind": 3.0}, "kind is 3.0; expected 'a' or 'b' or 3"),
        ({"pair": (1,)}, "pair is (1,); expected 2 values: a whole number of at least 1, a number"),
        ({"many": ()}, "many is (); expected a list of values, each a whole number of at least 1"),
        ({"many": (0,)}, "many is (0,); expected a list of values, each a whole number of at"),
        ({"some": (1,)}, "some is (1,); expected a list of values, each a text or nothing"),
        ({"mask": 3}, "mask is 3; expected a group of settings, Mask"),
        ({"places": "all"}, "places is 'all'; expected 'none' or a group of settings, Mask"),
        ({"free": 3}, "free is 3; expected a group of settings"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(changes, message):
    with pytest.raises(ConfigError) as caught:
        replace(GOOD, **changes)
    assert str(caught.value).startswith(f"Settings.{message}")
    assert "\n" not in str(caught.value)
    if "free" not in changes and "pair" not in changes:
        with pytest.raises(ConfigError) as caught:
            config.from_plain(Settings, {"count": 1, **changes})
        assert str(caught.value).startswith(message)


def test_plain_data_is_named_by_its_way_down():
    with pytest.raises(ConfigError, match=r"^mask\.share is 2; expected a number from 0 to 1$"):
        config.from_plain(Settings, {"count": 1, "mask": {"share": 2}})
    with pytest.raises(UnknownNameError, match=r"unknown setting 'mask.with'.*did you mean width"):
        config.from_plain(Settings, {"count": 1, "mask": {"with": 2}})
    with pytest.raises(ConfigError, match=r"^settings are missing: count$"):
        config.from_plain(Settings, {})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("count=20", {"count": 20}),
        ("weight=2", {"weight": 2.0}),
        ("rate=NONE", {"rate": None}),
        ("name=none", {"name": "none"}),
        ("name=3", {"name": "3"}),
        ("fast=True", {"fast": True}),
        ("pair=2, -1", {"pair": (2, -1.0)}),
        ("many=7", {"many": (7,)}),
        ("some=7,b", {"some": ("7", "b")}),
        ("mask.share=1", {"mask": Mask(share=1.0)}),
        ("free.depth=2", {"free": {"depth": 2}}),
        ("free.sizes=2,3", {"free": {"sizes": (2, 3)}}),
        ("free.mode=bi-bi", {"free": {"mode": "bi-bi"}}),
    ],
)
def test_a_text_is_read_by_the_annotation(change, expected):
    assert config.override(GOOD, [change]) == replace(GOOD, **expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("count", "'count' is not a change; expected NAME=VALUE"),
        ("count=", "count is ''; expected a whole number"),
        ("count=none", "count is 'none'; expected a whole number"),
        ("count.x=1", "count.x: there is no field 'x' in a single value"),
        ("mask=1", "mask is a group of settings; expected mask.FIELD=VALUE"),
        ("free=1", "free is a group of settings; expected free.FIELD=VALUE"),
        ("cuont=1", "unknown setting 'cuont': field 'cuont'; did you mean count"),
    ],
)
def test_a_text_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        config.override(GOOD, [change])


@given(
    st.none() | st.floats(-9, 9), st.none() | st.floats(-9, 9), st.booleans(), st.booleans(),
    st.floats(allow_nan=True, allow_infinity=True),
)  # fmt: skip
def test_a_range_is_its_inequalities(low, high, open_low, open_high, value):
    inside = math.isfinite(value)
    if inside and low is not None:
        inside = low < value or (low == value and not open_low)
    if inside and high is not None:
        inside = value < high or (value == high and not open_high)
    assert (value in Range(low, high, open_low=open_low, open_high=open_high)) == inside
