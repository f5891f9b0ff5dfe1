"""The Triton kernels, interpreted on the CPU: slow, so everything is small."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from audiomamba import ops
from audiomamba.errors import BackendError
from audiomamba.ops import launch_config
from audiomamba.ops.launch_config import LaunchConfig

pytest.importorskip("triton", reason="Triton is not installed")
pytestmark = pytest.mark.skipif(
    not ops.gpu.interpreted(), reason="Triton compiles for the GPU here; see the tests marked gpu"
)

Compare = Callable[..., None]


@pytest.fixture(
    params=[LaunchConfig(1, 2, 2, 0), LaunchConfig(2, 4, 1, 4), LaunchConfig(1, 4, 4, 4)], ids=str
)
def config(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run with sequences in one piece and in chunks, on several tiles."""

    class OneConfig(launch_config.ConfigCache):
        def get(self, key: str) -> LaunchConfig:
            del key
            return request.param

    monkeypatch.setattr(launch_config, "config_cache", lambda: OneConfig(tmp_path / "file", "here"))


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
@pytest.mark.usefixtures("config")
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
@pytest.mark.usefixtures("config")
def test_both_directions_agree(lengths: list[int] | None, compare: Compare) -> None:
    x = tensors(2, 9, 5, 4, 1, torch.float32)
    del x["initial_state"]
    options = {"lengths": lengths and torch.tensor(lengths), "delta_softplus": True}
    compare(ops.bidirectional_selective_scan, x, options, backend="triton")


@pytest.mark.parametrize("mirrored", [False, True])
def test_channels_beyond_one_block_agree(
    mirrored: bool, compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops.gpu, "triton_is_before", lambda _: mirrored)  # axes as for any release
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


def test_float64_is_refused() -> None:
    x = tensors(1, 2, 2, 2, 1, torch.float64)
    with pytest.raises(BackendError, match="float64"):
        ops.selective_scan(x["u"], x["delta"], x["A"], x["B"], x["C"], backend="triton")


def test_offsets_beyond_32_bits_are_reached(tmp_path: Path) -> None:
    tokens, channels, stride = 3, 2, (1 << 30) + 1  # the last token begins beyond 2**31
    path, size = tmp_path / "sparse", stride * (tokens - 1) + channels
    with path.open("wb") as file:
        file.truncate(2 * size)
    numbers = torch.from_file(str(path), shared=True, size=size, dtype=torch.bfloat16)
    far = numbers.as_strided((1, tokens, channels), (0, stride, 1))
    x = tensors(1, tokens, channels, 2, 1, torch.bfloat16)
    near = x["u"]
    far.copy_(near)
    found = []
    for u in (near, far):
        leaves = {**x, "u": u.detach()}
        leaves = {n: v.requires_grad_() for n, v in leaves.items() if n != "initial_state"}
        out = ops.bidirectional_selective_scan(**leaves, delta_softplus=True, backend="triton")
        taps = torch.ones(channels, 2)
        conv = ops.causal_conv1d(leaves["u"], taps, activation="silu", backend="triton")
        grads = torch.autograd.grad(out.sum() + conv.sum(), list(leaves.values()))
        found.append([out, conv, *grads])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


class NoReading(TorchDispatchMode):
    """Refuse what makes the host wait for a number of a tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero)
        return func(*args, **(kwargs or {}))


def test_no_number_is_read_on_the_host() -> None:
    from audiomamba.ops.selective_scan import triton

    x = tensors(2, 5, 3, 2, 1, torch.float32)
    names = ("u", "delta", "A", "A_b", "B", "C", "D", "z", "delta_bias")
    given = (*(x[name] for name in names), None, torch.tensor([5, 2]))
    with NoReading():
        out, _ = triton._scan._init_fn(*given, True, False, False)
        grads = triton._scan_backward._init_fn(torch.ones_like(out), None, *given, True, False)
    assert all(grad.isfinite().all() for grad in grads)
    with NoReading(), pytest.raises(AssertionError):
        torch.ones(1).item()


def test_compiles_into_one_graph() -> None:
    x = tensors(2, 5, 3, 2, 1, torch.float32)
    del x["initial_state"]

    def step(lengths: Tensor, **leaves: Tensor) -> Tensor:
        leaves["u"] = ops.causal_conv1d(leaves["u"], leaves["A"], lengths=lengths, backend="triton")
        out = ops.bidirectional_selective_scan(
            **leaves, delta_softplus=True, lengths=lengths, backend="triton"
        )
        return ops.add_rms_norm(out, None, leaves["D"], backend="triton")[0].square().sum()

    found = []
    for run in (step, torch.compile(step, fullgraph=True, backend="aot_eager")):
        leaves = {name: value.clone().requires_grad_() for name, value in x.items()}
        run(torch.tensor([5, 3]), **leaves).backward()
        found.append([leaf.grad for leaf in leaves.values()])
    torch.testing.assert_close(*found)
    torch.compiler.reset()


def test_gradients_are_the_same_every_time() -> None:
    x = tensors(2, 9, 40, 2, 1, torch.float32)
    del x["initial_state"]
    found = []
    for _ in range(2):
        leaves = {name: value.clone().requires_grad_() for name, value in x.items()}
        out = ops.bidirectional_selective_scan(**leaves, delta_softplus=True, backend="triton")
        out.square().sum().backward()
        found.append([leaf.grad for leaf in leaves.values()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
