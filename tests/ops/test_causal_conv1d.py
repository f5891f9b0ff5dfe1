import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv1d, silu

from audiomamba.errors import ConfigError
from audiomamba.ops import causal_conv1d

Compare = Callable[..., None]


def conv_tensors(
    batch: int, tokens: int, channels: int, width: int, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "x": torch.randn(batch, tokens, channels, generator=generator).to(dtype),
        "weight": torch.randn(channels, width, generator=generator),
        "bias": torch.randn(channels, generator=generator),
    }


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("reverse", [False, True])
def test_is_a_depthwise_convolution(backend: str, reverse: bool) -> None:
    t = conv_tensors(2, 21, 6, 4)
    x = t["x"].flip(1) if reverse else t["x"]
    padded = torch.nn.functional.pad(x.transpose(1, 2), (3, 0))
    expected = silu(conv1d(padded, t["weight"].unsqueeze(1), t["bias"], groups=6)).transpose(1, 2)
    out = causal_conv1d(**t, activation="silu", reverse=reverse, backend=backend)
    torch.testing.assert_close(out, expected.flip(1) if reverse else expected)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, [4, 0]])
def test_reference_gradients(reverse: bool, lengths: list[int] | None) -> None:
    leaves = [x.double().requires_grad_() for x in conv_tensors(2, 5, 3, 4).values()]
    chosen = None if lengths is None else torch.tensor(lengths)

    def call(*tensors: Tensor) -> Tensor:
        return causal_conv1d(*tensors, activation="silu", reverse=reverse, lengths=chosen)

    assert torch.autograd.gradcheck(call, leaves)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("activation", [None, "silu"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize(
    ("batch", "tokens", "channels", "width"),
    [(1, 1, 1, 4), (2, 2, 17, 4), (2, 65, 48, 4), (3, 130, 130, 3), (1, 64, 80, 1), (2, 9, 3, 12)],
)
def test_agrees(
    batch: int,
    tokens: int,
    channels: int,
    width: int,
    activation: str | None,
    reverse: bool,
    lengths: bool,
    compare: Compare,
) -> None:
    ends = torch.linspace(tokens, 0, batch).long() if lengths else None
    options = {"activation": activation, "reverse": reverse, "lengths": ends}
    compare(causal_conv1d, conv_tensors(batch, tokens, channels, width), options)


@pytest.mark.usefixtures("instruction_set")
def test_bfloat16_agrees(compare: Compare) -> None:
    tensors = conv_tensors(2, 70, 40, 4, torch.bfloat16)
    rounding = 2.0**-8
    compare(
        causal_conv1d, tensors, {"activation": "silu"}, outputs=rounding, gradients=2 * rounding
    )


def test_works_without_a_bias_and_on_slices(compare: Compare) -> None:
    tensors = conv_tensors(2, 30, 40, 4)

    def op(x: Tensor, weight: Tensor, **options: object) -> Tensor:
        return causal_conv1d(x[:, 1:-1, 10:27], weight[10:27], **options)

    compare(op, {"x": tensors["x"], "weight": tensors["weight"]}, {"activation": "silu"})


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_padded_sample_is_as_if_alone(backend: str, reverse: bool) -> None:
    tensors = conv_tensors(2, 80, 20, 4)
    tensors["x"][1, 33:] = math.nan
    leaves = {name: x.clone().requires_grad_() for name, x in tensors.items()}
    options = {"activation": "silu", "reverse": reverse, "backend": backend}
    out = causal_conv1d(**leaves, **options, lengths=torch.tensor([80, 33]))
    alone = causal_conv1d(**(tensors | {"x": tensors["x"][1:, :33]}), **options)
    torch.testing.assert_close(out[1:, :33], alone, rtol=0, atol=0)
    assert (out[1, 33:] == 0).all()
    out.sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in leaves.values())
    assert (leaves["x"].grad[1, 33:] == 0).all()


def test_is_bitwise_the_same_on_any_number_of_threads() -> None:
    results = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        leaves = {n: x.requires_grad_() for n, x in conv_tensors(3, 150, 200, 4).items()}
        out = causal_conv1d(**leaves, activation="silu", backend="cpu")
        out.square().sum().backward()
        results.append([out, *(x.grad for x in leaves.values())])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(2, 0, 4)}, "x is torch.float32 of shape (2, 0, 4)"),
        ({"x": torch.zeros(2, 5, 4, dtype=torch.int64)}, "x is torch.int64"),
        ({"weight": torch.zeros(3, 4)}, "weight has shape (3, 4); expected (4, width >= 1)"),
        ({"bias": torch.zeros(3)}, "bias has shape (3,); expected (4,)"),
        ({"lengths": torch.zeros(3)}, "lengths has shape (3,); expected (2,)"),
        ({"activation": "relu"}, "activation is 'relu'; expected 'silu' or None"),
    ],
)
def test_wrong_arguments_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        causal_conv1d(**(conv_tensors(2, 5, 4, 4) | changes))
    assert str(caught.value).startswith(message)
