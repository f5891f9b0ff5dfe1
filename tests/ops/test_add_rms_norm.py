from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import rms_norm

from audiomamba.errors import ConfigError
from audiomamba.ops import add_rms_norm

Compare = Callable[..., None]


def norm_tensors(*shape: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor | None]:
    generator = torch.Generator().manual_seed(0)
    return {
        "x": torch.randn(*shape, generator=generator).to(dtype),
        "residual": torch.randn(*shape, generator=generator),
        "weight": torch.randn(shape[-1], generator=generator),
    }


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_adds_and_normalizes(backend: str) -> None:
    t = norm_tensors(2, 7, 24)
    normed, total = add_rms_norm(**t, eps=1e-3, backend=backend)
    torch.testing.assert_close(total, t["x"] + t["residual"])
    torch.testing.assert_close(normed, rms_norm(total, (24,), t["weight"], eps=1e-3))


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_without_a_residual_returns_x_in_float32(backend: str) -> None:
    t = norm_tensors(3, 10, dtype=torch.bfloat16)
    normed, total = add_rms_norm(t["x"], None, t["weight"], backend=backend)
    assert (normed.dtype, total.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(total, t["x"].float())
    assert total.data_ptr() != t["x"].data_ptr()


def test_reference_gradients() -> None:
    leaves = [x.double().requires_grad_() for x in norm_tensors(2, 3, 5).values()]
    assert torch.autograd.gradcheck(add_rms_norm, leaves)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("shape", [(1,), (17,), (1, 1), (2, 67, 48), (130, 130), (2, 3, 2, 64)])
def test_agrees(shape: tuple[int, ...], residual: bool, compare: Compare) -> None:
    tensors = norm_tensors(*shape)
    if not residual:
        tensors["residual"] = None
    compare(add_rms_norm, tensors, {})


@pytest.mark.usefixtures("instruction_set")
def test_bfloat16_agrees(compare: Compare) -> None:
    rounding = 2.0**-8
    tensors = norm_tensors(70, 40, dtype=torch.bfloat16)
    compare(add_rms_norm, tensors, {}, outputs=rounding, gradients=2 * rounding)


def test_takes_any_strides(compare: Compare) -> None:
    def op(x: Tensor, residual: Tensor, weight: Tensor, **options: object) -> Tensor:
        normed, total = add_rms_norm(x.transpose(0, 1), residual.transpose(0, 1), weight, **options)
        return normed.sum(dim=0) + total.sum(dim=0)

    compare(op, norm_tensors(5, 9, 20), {})


def test_is_bitwise_the_same_on_any_number_of_threads() -> None:
    results = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        leaves = {n: x.requires_grad_() for n, x in norm_tensors(500, 96).items()}
        normed, total = add_rms_norm(**leaves, backend="cpu")
        (normed.square().sum() + total.sum()).backward()
        results.append([normed, total, *(x.grad for x in leaves.values())])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(5, dtype=torch.int64)}, "x is torch.int64 of shape (5,)"),
        ({"residual": torch.zeros(3, 5)}, "residual has shape (3, 5); expected that of x, (2, 5)"),
        ({"weight": torch.zeros(4)}, "weight has shape (4,); expected (5,)"),
    ],
)
def test_wrong_arguments_are_named(changes: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        add_rms_norm(**(norm_tensors(2, 5) | changes))
    assert str(caught.value).startswith(message)
