"""Addresses."""

import pytest

from audiomamba.errors import ConfigError
from audiomamba.hub import HubAddress, WebAddress, parse_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:org/name", HubAddress(repo="org/name")),
        ("hf:o-r/n.a_m-e@v1.0", HubAddress(repo="o-r/n.a_m-e", revision="v1.0")),
        ("hf:org/name@refs/pr/1", HubAddress(repo="org/name", revision="refs/pr/1")),
        ("hf:org/name/a.pth", HubAddress(repo="org/name", files=("a.pth",))),
        (
            "hf:org/name/sub/a.safetensors@" + "0" * 40,
            HubAddress(repo="org/name", revision="0" * 40, files=("sub/a.safetensors",)),
        ),
        ("https://host/a%3D1.pt?download=1", WebAddress(url="https://host/a%3D1.pt?download=1")),
        ("http://127.0.0.1:8000/a.pth", WebAddress(url="http://127.0.0.1:8000/a.pth")),
    ],
)
def test_an_address_is_read_and_written(text: str, expected: HubAddress | WebAddress) -> None:
    assert parse_address(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hf:", "is no address; expected hf:org/name"),
        ("hf:name", "is no address"),
        ("hf:../name", "is no address"),
        ("hf:org/../name", "is no address"),
        ("hf:org/name@", "is no address"),
        ("hf:org/name/../../a.pth", "is no address"),
        ("hf:org/name/model.py", "model.py can hold no weights"),
        ("hf:org/name/weights.pkl", "weights.pkl can hold no weights"),
        ("http://example.org/a.pth", "is not encrypted; expected an address with https://"),
        ("https://example.org/", "is no address of weights"),
        ("https:///a.pth", "is no address of weights"),
        ("https://example.org/a.zip", "is no address of weights"),
    ],
)
def test_what_is_no_address_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_address(text)
