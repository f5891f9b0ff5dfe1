"""The Triton kernels of convolution and norm, interpreted on the CPU: everything is small."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from audiomamba import ops

pytest.importorskip("triton", reason="Triton is not installed")
pytestmark = pytest.mark.skipif(
    not ops.gpu.interpreted(), reason="Triton compiles for the GPU here; see the tests marked gpu"
)

Compare = Callable[..., None]


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(
    ("width", "options"),
    [
        (4, {"activation": "silu"}),
        (3, {"activation": "silu", "reverse": True, "lengths": torch.tensor([35, 0, 17])}),
        (1, {"lengths": torch.tensor([1, 35, 40])}),
    ],
)
def test_convolution_agrees(width: int, options: dict[str, Any], compare: Compare) -> None:
    x = {"x": normal(3, 35, 70), "weight": normal(70, width), "bias": normal(70)}
    compare(ops.causal_conv1d, x, options, backend="triton")


def test_convolution_reads_slices_and_does_without_a_bias(compare: Compare) -> None:
    x, weight = normal(2, 300, 10)[..., 3:8], normal(5, 4)

    def op(x: Tensor, weight: Tensor, **options: Any) -> Tensor:
        wide = torch.cat([x, x + 1], dim=-1)
        return ops.causal_conv1d(wide[..., :5], weight, **options)

    compare(op, {"x": x, "weight": weight}, {"activation": "silu"}, backend="triton")


def test_nothing_beyond_a_length_is_seen() -> None:
    x, lengths = normal(1, 6, 4), torch.tensor([3])
    x[:, 3:] = torch.nan
    out = ops.causal_conv1d(x, normal(4, 4), reverse=True, lengths=lengths, backend="triton")
    expected = ops.causal_conv1d(x[:, :3], normal(4, 4), reverse=True, backend="reference")
    torch.testing.assert_close(out, torch.nn.functional.pad(expected, (0, 0, 0, 3)))


@pytest.mark.parametrize("shape", [(2, 20, 48), (70, 5), (3,)])
def test_norm_agrees(shape: tuple[int, ...], compare: Compare) -> None:
    x = {"x": normal(*shape), "residual": normal(*shape) + 1, "weight": normal(shape[-1])}
    compare(ops.add_rms_norm, x, {}, backend="triton")


def test_norm_without_a_residual_agrees(compare: Compare) -> None:
    x = {"x": normal(4, 9), "residual": None, "weight": normal(9)}
    compare(ops.add_rms_norm, x, {"eps": 1e-2}, backend="triton")


def test_rows_that_are_not_contiguous_agree(compare: Compare) -> None:
    def op(x: Tensor, weight: Tensor, **options: Any) -> tuple[Tensor, ...]:
        return ops.add_rms_norm(x.transpose(0, 1), None, weight, **options)

    compare(op, {"x": normal(6, 4), "weight": normal(6)}, {}, backend="triton")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_agrees(dtype: torch.dtype, compare: Compare) -> None:
    # The interpreter cuts bfloat16 off where a GPU rounds it.
    bounds = {"outputs": 2.0**-7, "gradients": 2.0**-6}
    x = {"x": normal(2, 9, 5).to(dtype), "weight": normal(5, 4), "bias": normal(5)}
    compare(ops.causal_conv1d, x, {"activation": "silu"}, backend="triton", **bounds)
    x = {"x": normal(2, 9, 5).to(dtype), "residual": normal(2, 9, 5), "weight": normal(5)}
    compare(ops.add_rms_norm, x, {}, backend="triton", **bounds)


def test_empty_batches_give_empty_results() -> None:
    assert ops.causal_conv1d(normal(0, 3, 4), normal(4, 2), backend="triton").shape == (0, 3, 4)
    normed, total = ops.add_rms_norm(normal(0, 4), None, normal(4), backend="triton")
    assert normed.shape == total.shape == (0, 4)


def test_the_operators_are_registered_completely() -> None:
    from audiomamba.ops.add_rms_norm import triton as norm
    from audiomamba.ops.causal_conv1d import triton as conv

    x, taps, gain = (normal(*shape).requires_grad_() for shape in ((1, 5, 3), (3, 4), (3,)))
    torch.library.opcheck(conv._conv, (x, taps, None, None, True, False))
    torch.library.opcheck(norm._add_norm, (x, None, gain, 1e-5))
