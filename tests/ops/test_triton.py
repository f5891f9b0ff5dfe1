"""The Triton kernels, interpreted on the CPU: slow, so everything is small."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from audiomamba import ops
from audiomamba.errors import BackendError

pytest.importorskip("triton", reason="Triton is not installed")
pytestmark = pytest.mark.skipif(
    not ops.gpu.interpreted(), reason="Triton compiles for the GPU here; see the tests marked gpu"
)

Compare = Callable[..., None]


@pytest.fixture(params=["whole", "cut"])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with sequences in one piece, and cut into chunks."""
    from audiomamba.ops.selective_scan import triton

    monkeypatch.setattr(triton, "CHUNK_TOKENS", 4)
    busy = 0 if request.param == "whole" else 1 << 30
    monkeypatch.setattr(triton, "BUSY_PROGRAMS_PER_PROCESSOR", busy)


def tensors(
    batch: int, tokens: int, channels: int, states: int, groups: int, dtype: torch.dtype
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return {
        **{name: normal(batch, tokens, channels).to(dtype) for name in ("u", "delta", "z")},
        **{name: normal(batch, tokens, groups, states).to(dtype) for name in ("B", "C")},
        **{name: -torch.exp(normal(channels, states)) for name in ("A", "A_b")},
        **{name: normal(channels) for name in ("D", "delta_bias")},
        "initial_state": normal(batch, channels, states),
    }


@pytest.mark.parametrize(
    ("reverse", "groups", "lengths"),
    [(False, 1, None), (True, 3, [11, 5]), (False, 6, [0, 11])],
)
@pytest.mark.usefixtures("cut")
def test_one_direction_agrees(
    reverse: bool, groups: int, lengths: list[int] | None, compare: Compare
) -> None:
    x = tensors(2, 11, 6, 3, groups, torch.float32)
    del x["A_b"]
    options = {"reverse": reverse, "return_last_state": True, "delta_softplus": True}
    if lengths:
        options["lengths"] = torch.tensor(lengths)
    compare(ops.selective_scan, x, options, backend="triton")


@pytest.mark.parametrize("lengths", [None, [9, 4]])
@pytest.mark.usefixtures("cut")
def test_both_directions_agree(lengths: list[int] | None, compare: Compare) -> None:
    x = tensors(2, 9, 5, 4, 1, torch.float32)
    del x["initial_state"]
    options = {"lengths": lengths and torch.tensor(lengths), "delta_softplus": True}
    compare(ops.bidirectional_selective_scan, x, options, backend="triton")


def test_channels_beyond_one_block_agree(compare: Compare) -> None:
    x = tensors(1, 3, 70, 2, 2, torch.float32)
    del x["initial_state"]
    compare(ops.bidirectional_selective_scan, x, {"delta_softplus": True}, backend="triton")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_agrees(dtype: torch.dtype, compare: Compare) -> None:
    x = {k: v for k, v in tensors(1, 7, 4, 2, 1, dtype).items() if k != "initial_state"}
    compare(
        ops.bidirectional_selective_scan,
        x,
        {"delta_softplus": True},
        backend="triton",
        outputs=2.0**-7,  # the interpreter cuts bfloat16 off where a GPU rounds it
        gradients=2.0**-6,
    )


def test_without_its_options_it_agrees(compare: Compare) -> None:
    x = {k: v for k, v in tensors(1, 6, 4, 2, 1, torch.float32).items() if k in "uABC"}
    x["delta"] = torch.rand(1, 6, 4)
    compare(ops.selective_scan, x, {}, backend="triton")


def test_large_steps_stay_finite(compare: Compare) -> None:
    x = {k: v for k, v in tensors(1, 5, 4, 2, 1, torch.float32).items() if k in "uABC"}
    x["delta"] = torch.tensor([-200.0, -20.0, 19.9, 20.1, 300.0])[None, :, None].repeat(1, 1, 4)
    compare(ops.selective_scan, x, {"delta_softplus": True}, backend="triton")


def test_the_operators_are_registered_completely() -> None:
    from audiomamba.ops.selective_scan import triton

    x = tensors(1, 3, 2, 2, 1, torch.float32)
    names = ("u", "delta", "A", "A_b", "B", "C", "D", "z", "delta_bias")
    given = [x[name].requires_grad_() for name in names]
    torch.library.opcheck(triton._scan, (*given, None, None, True, False, False))


def test_only_scans_have_the_backend() -> None:
    with pytest.raises(BackendError, match="it has scans only"):
        ops.causal_conv1d(torch.zeros(1, 2, 3), torch.zeros(3, 4), backend="triton")
    x = tensors(1, 2, 2, 2, 1, torch.float64)
    with pytest.raises(BackendError, match="float64"):
        ops.selective_scan(x["u"], x["delta"], x["A"], x["B"], x["C"], backend="triton")
