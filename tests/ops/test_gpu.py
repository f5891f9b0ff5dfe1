"""The Triton kernels on a GPU, at the sizes that models have: python -m pytest -m gpu."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from audiomamba import ops
from audiomamba.ops import launch_config
from audiomamba.ops.launch_config import LaunchConfig

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() or ops.gpu.problem() is not None,
        reason="there is no GPU that Triton can use",
    ),
]


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin with the defaults, and leave the user's settings alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    launch_config.config_cache.cache_clear()
    yield
    launch_config.config_cache.cache_clear()


def scan_inputs(
    batch: int, tokens: int, channels: int, dtype: torch.dtype = torch.float32, states: int = 16
) -> dict[str, Tensor]:
    """What a fresh mixer gives its scan: steps from 0.001 to 0.1, decays from 1 to 16."""
    generator = torch.Generator("cuda").manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device="cuda")

    decay = -torch.arange(1.0, states + 1, device="cuda").repeat(channels, 1)
    step = torch.linspace(-6.9, -2.3, channels, device="cuda").exp()
    return {
        **{name: normal(batch, tokens, channels).to(dtype) for name in ("u", "z")},
        "delta": (0.1 * normal(batch, tokens, channels)).to(dtype),
        **{name: normal(batch, tokens, states).to(dtype) for name in ("B", "C")},
        "A": decay,
        "A_b": decay * torch.exp(0.3 * normal(channels, states)),
        "D": normal(channels),
        "delta_bias": step + torch.log(-torch.expm1(-step)),
    }


def results(
    tensors: Mapping[str, Tensor], backend: str, lengths: Tensor | None = None
) -> dict[str, Tensor]:
    """The output and every gradient."""
    leaves = {name: x.detach().clone().requires_grad_() for name, x in tensors.items()}
    out = ops.bidirectional_selective_scan(
        **leaves, delta_softplus=True, lengths=lengths, backend=backend
    )
    generator = torch.Generator("cuda").manual_seed(1)
    probe = torch.randn(out.shape, generator=generator, device="cuda").to(out.dtype)
    grads = torch.autograd.grad(out, list(leaves.values()), probe)
    return {"out": out.detach(), **dict(zip(leaves, grads, strict=True))}


def worst(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """The largest root mean square of a difference, over that of what is right."""
    return max(
        float((found[name].double() - x.double()).norm() / x.double().norm())
        for name, x in expected.items()
    )


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize(("batch", "tokens", "channels"), [(1, 513, 1536), (8, 2049, 768)])
def test_aum_sizes_agree_with_float64(
    batch: int, tokens: int, channels: int, dtype: torch.dtype, bound: float
) -> None:
    x = scan_inputs(batch, tokens, channels, dtype)
    truth = results({name: value.double() for name, value in x.items()}, "torch")
    assert worst(results(x, "triton"), truth) < bound


def test_lengths_and_odd_sizes_agree_with_float64() -> None:
    x = scan_inputs(3, 301, 77, states=5)
    lengths = torch.tensor([301, 0, 150], device="cuda")
    truth = results({name: value.double() for name, value in x.items()}, "torch", lengths)
    assert worst(results(x, "triton", lengths), truth) < 1e-4


@pytest.mark.parametrize("tokens", [65_536, 200_000])
def test_long_sequences_agree_with_float64(tokens: int) -> None:
    x = scan_inputs(1, tokens, 64)
    with torch.no_grad():
        wide = {name: value.double() for name, value in x.items()}
        options = {"delta_softplus": True}
        truth = ops.bidirectional_selective_scan(**wide, **options, backend="torch")
        found = ops.bidirectional_selective_scan(**x, **options, backend="triton")
    assert worst({"out": found}, {"out": truth}) < 1e-4


def test_offsets_beyond_32_bits_are_reached() -> None:
    x, stride = scan_inputs(1, 3, 64), (1 << 30) + 8  # the last token begins beyond 2**31
    storage = torch.empty(2 * stride + 64, device="cuda")
    far = storage.as_strided((1, 3, 64), (0, stride, 1))
    far.copy_(x["u"])
    with torch.no_grad():
        near_out, far_out = (
            ops.bidirectional_selective_scan(**{**x, "u": u}, backend="triton")
            for u in (x["u"], far)
        )
    assert torch.equal(near_out, far_out)


def test_gradients_are_the_same_every_time() -> None:
    x = scan_inputs(4, 1025, 768, torch.bfloat16)
    first, second = (results(x, "triton") for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_cuda_graph_records_and_replays_forward_and_backward() -> None:
    x = scan_inputs(2, 513, 256)
    lengths = torch.tensor([513, 200], device="cuda")
    expected = results(x, "triton", lengths)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        results(x, "triton", lengths)
    torch.cuda.current_stream().wait_stream(stream)
    leaves = {name: value.clone().requires_grad_() for name, value in x.items()}
    probe = torch.ones_like(x["u"])
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = ops.bidirectional_selective_scan(
            **leaves, delta_softplus=True, lengths=lengths, backend="triton"
        )
        torch.autograd.grad(out, list(leaves.values()), probe)
    out.detach().fill_(torch.nan)
    graph.replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(out.detach(), expected["out"])


def test_warmup_times_and_keeps() -> None:
    found = ops.warmup(2, 300, 64, dtype=torch.bfloat16, gradient=True)
    assert [one.kernel for one in found] == ["forward", "backward"]
    assert all(one.time_s > 0 and isinstance(one.config, LaunchConfig) for one in found)
    assert launch_config.config_cache().path.exists()
    assert ops.warmup(2, 300, 64, dtype=torch.bfloat16, gradient=True) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_convolution_and_norm_agree_with_float64(dtype: torch.dtype) -> None:
    generator = torch.Generator("cuda").manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device="cuda")

    bound = 1e-5 if dtype == torch.float32 else 2e-2
    x = normal(4, 1025, 3072).to(dtype)[..., :1536]
    lengths = torch.tensor([1025, 0, 1, 700], device="cuda")
    taps, bias = normal(1536, 4), normal(1536)
    conv = partial(ops.causal_conv1d, activation="silu", lengths=lengths)
    residual = normal(4, 1025, 1536)
    for op, given in (
        (conv, {"x": x, "weight": taps, "bias": bias}),
        (ops.add_rms_norm, {"x": x, "residual": residual, "weight": bias}),
    ):
        found = with_gradients(given, None, partial(op, backend="triton"))
        truth = with_gradients(given, torch.float64, partial(op, backend="reference"))
        assert worst(found, truth) < bound


def with_gradients(
    given: Mapping[str, Tensor],
    dtype: torch.dtype | None,
    op: Callable[..., Tensor | tuple[Tensor, ...]],
) -> dict[str, Tensor]:
    leaves = {name: x.detach().to(dtype or x.dtype).requires_grad_() for name, x in given.items()}
    outputs = op(**leaves)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    grads = torch.autograd.grad(sum(x.float().sum() for x in outputs), list(leaves.values()))
    named = {f"output {i}": x.detach() for i, x in enumerate(outputs)}
    return {**named, **dict(zip(leaves, grads, strict=True))}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's own code
def test_a_compiled_model_agrees() -> None:
    from audiomamba import models

    torch.manual_seed(0)
    model = models.create("aum_tiny", n_frames=256).cuda()
    features = torch.randn(2, 256, model.config.n_mels, device="cuda")
    compiled = torch.compile(model, fullgraph=True)
    torch.testing.assert_close(compiled(features), model(features), rtol=1e-3, atol=1e-3)
    torch.compiler.reset()
