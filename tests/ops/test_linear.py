"""Linear layers by oneDNN against torch.nn.functional.linear."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.ops import Linear, linear

module = sys.modules["audiomamba.ops.linear"]
# Of x, then n_out: above the limit. The last two have weight gradients by a convolution.
SHAPES = ((70, 96, 400), (2, 50, 80, 600), (129, 48, 1536), (2, 520, 72, 80))


@pytest.fixture(autouse=True)
def _onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take oneDNN on every processor that has it."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setattr(module, "prefers_onednn", lambda: True)


def _tensors(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    *of_x, n_out = shape
    x, weight, bias = (
        torch.randn(size, generator=generator, requires_grad=True)
        for size in (of_x, (n_out, of_x[-1]), (n_out,))
    )
    return x, weight, bias


def _takes_onednn(*tensors: Tensor | None) -> bool:
    x, weight, bias = tensors
    assert x is not None
    assert weight is not None
    return bool(module._suits_onednn(x, weight, bias))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("biased", [True, False])
def test_outputs_and_gradients_are_those_of_pytorch(shape: tuple[int, ...], biased: bool) -> None:
    x, weight, bias = _tensors(*shape)
    given = (x, weight, bias if biased else None)
    assert _takes_onednn(*given)
    ours, theirs = linear(*given), F.linear(*given)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)
    toward = torch.randn_like(theirs)
    wanted = [tensor for tensor in given if tensor is not None]
    for mine, other in zip(
        torch.autograd.grad(ours, wanted, toward),
        torch.autograd.grad(theirs, wanted, toward),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_of_a_gradient_is_that_of_pytorch(shape: tuple[int, ...]) -> None:
    x, weight, _ = _tensors(*shape)
    found = []
    for product in (linear, F.linear):
        loss = product(x, weight).pow(2).mean()
        of_x, of_weight = torch.autograd.grad(loss, (x, weight), create_graph=True)
        total = of_x.pow(2).sum() + of_weight.pow(2).sum()
        found.append(torch.stack([one.norm() for one in torch.autograd.grad(total, (x, weight))]))
    torch.testing.assert_close(*found, rtol=1e-4, atol=0.0)


def test_columns_of_a_wider_tensor_are_read_where_they_lie() -> None:
    wide = torch.randn(300, 80)
    weight = torch.randn(1536, 48, requires_grad=True)
    part = wide[:, :48]
    assert _takes_onednn(part, weight, None)
    torch.testing.assert_close(linear(part, weight), F.linear(part, weight), rtol=1e-5, atol=1e-4)
    linear(part, weight).sum().backward()
    mine, weight.grad = weight.grad, None
    F.linear(part, weight).sum().backward()
    torch.testing.assert_close(mine, weight.grad, rtol=1e-4, atol=1e-3)


def test_what_onednn_would_be_slow_at_is_copied() -> None:
    part = torch.randn(513, 80)[:, :48]
    assert module._dense(part) is part
    assert module._dense(part.contiguous().t()).stride() == (1, 48)
    assert module._dense(part.t()).stride() == (1, 48)
    assert module._dense(part[:, ::2]).is_contiguous()


@pytest.mark.parametrize("why", ["small", "half", "one row", "switched off", "autocast"])
def test_pytorch_does_what_does_not_suit_onednn(why: str, request: pytest.FixtureRequest) -> None:
    x, weight, bias = _tensors(*SHAPES[0])
    if why == "small":
        x = x[:4]
    elif why == "half":
        x, weight, bias = (tensor.bfloat16() for tensor in (x, weight, bias))
    elif why == "one row":
        x = x[0]
    elif why == "switched off":
        request.addfinalizer(lambda: torch._C._set_mkldnn_enabled(True))
        torch._C._set_mkldnn_enabled(False)
    with torch.autocast("cpu", torch.bfloat16, enabled=why == "autocast"):
        assert not _takes_onednn(x, weight, bias)
        assert torch.equal(linear(x, weight, bias), F.linear(x, weight, bias))


def test_the_layer_is_a_linear_layer() -> None:
    ours, theirs = Linear(96, 400), nn.Linear(96, 400)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(70, 96)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-4)
    assert isinstance(ours, nn.Linear)


def test_a_compiled_layer_holds_no_op_of_onednn() -> None:
    layer = Linear(96, 400)
    exported = torch.export.export(layer, (torch.randn(70, 96),))
    assert "mkldnn" not in str(exported.graph)


def test_transforms_of_functions_are_pytorchs() -> None:
    x, weight, bias = (tensor.detach() for tensor in _tensors(*SHAPES[1]))

    def total(weight: Tensor, one: Tensor) -> Tensor:
        return linear(one, weight, bias).sum()

    each = torch.func.vmap(torch.func.grad(total), in_dims=(None, 0))(weight, x)
    expected = x.sum(dim=1, keepdim=True).expand(-1, len(weight), -1)
    torch.testing.assert_close(each, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("vendor", "preferred"), [("AuthenticAMD", True), ("GenuineIntel", False), (None, False)]
)
def test_intel_has_mkl(
    vendor: str | None,
    preferred: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.undo()
    cpuinfo = tmp_path / "cpuinfo"
    if vendor is not None:
        cpuinfo.write_text(f"processor : 0\nvendor_id : {vendor}\n", encoding="utf-8")
    monkeypatch.setattr(module, "CPUINFO", cpuinfo)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert module.prefers_onednn.__wrapped__() is (preferred and torch.backends.mkl.is_available())
