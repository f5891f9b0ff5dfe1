"""Scans that write their result to a given place."""

import pytest
import torch
from torch import Tensor

from audiomamba import ops
from audiomamba.errors import ConfigError

BACKENDS = [name for name in ("cpu", "torch", "reference") if name in ops.available_backends()]


def _inputs(channels: int = 70, tokens: int = 131) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "u": normal(2, tokens, channels),
        "delta": normal(2, tokens, channels),
        "A": -normal(channels, 5).exp(),
        "B": normal(2, tokens, 5),
        "C": normal(2, tokens, 5),
        "D": normal(channels),
        "z": normal(2, tokens, channels),
        "delta_bias": normal(channels),
        "lengths": torch.tensor([tokens, 40]),
    }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("place", ["new", "u", "delta", "columns"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "both"])
def test_the_result_is_the_same_wherever_it_goes(backend: str, place: str, direction: str) -> None:
    given = _inputs()

    def scan(out: Tensor | None) -> Tensor:
        common = {"delta_softplus": True, "out": out, "backend": backend}
        if direction == "both":
            return ops.bidirectional_selective_scan(**given, A_b=2 * given["A"], **common)
        return ops.selective_scan(**given, reverse=direction == "reverse", **common)

    expected = scan(None)
    wide = torch.zeros(2, 131, 200)
    out = {
        "new": torch.empty_like(given["u"]),
        "u": given["u"],
        "delta": given["delta"],
        "columns": wide[..., 64:134],
    }[place]
    assert scan(out) is out
    assert torch.equal(out, expected)
    assert place != "columns" or wide[..., :64].abs().max() == wide[..., 134:].abs().max() == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_last_state_comes_too(backend: str) -> None:
    given = _inputs()
    common = {"delta_softplus": True, "return_last_state": True, "backend": backend}
    out, last = ops.selective_scan(**given, **common)
    placed, last_too = ops.selective_scan(**given, out=given["u"], **common)
    assert torch.equal(out, placed)
    assert torch.equal(last, last_too)


def test_a_place_that_does_not_fit_is_refused() -> None:
    given = _inputs()
    with pytest.raises(ConfigError, match="out has shape"):
        ops.selective_scan(**given, out=given["u"][:, :3])
    with pytest.raises(ConfigError, match="out has dtype"):
        ops.selective_scan(**given, out=given["u"].double())
    given["A"].requires_grad_()
    with pytest.raises(ConfigError, match="gradient"):
        ops.selective_scan(**given, out=torch.empty_like(given["u"]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_graph_notices_that_what_it_keeps_is_written_over(backend: str) -> None:
    given = _inputs()
    weight = torch.ones(70, requires_grad=True)
    loss = (given["u"] * weight).sum()  # keeps u
    with torch.no_grad():
        ops.selective_scan(**given, out=given["u"], backend=backend)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
