"""The implementations of the cases of ops: how each is built and called.

Inputs are random, the same for all implementations of a case.
"""

from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba import ops
from audiomamba.bench import peers
from audiomamba.bench.cases import (
    N_STATES,
    N_TAPS,
    ConvCase,
    CrossScanCase,
    NormCase,
    ScanCase,
    SequenceCase,
    SilenceCase,
)
from audiomamba.bench.implementation import Implementation, Outputs
from audiomamba.errors import BackendError
from audiomamba.ops.cross_scan import N_DIRECTIONS

__all__ = [
    "build_conv",
    "build_cross_scan",
    "build_norm",
    "build_scan",
    "build_silence",
    "random_scan_inputs",
]

Op = Callable[..., Tensor | Outputs]

# Step sizes are log-uniform from 0.001 to 0.1, as a fresh mixer has them.
LOG_STEPS = (-6.9, -2.3)
LARGE_STEP = 6.0  # the fastest decay, exp(-16 * 6), is below the smallest normal number
EPS = 1e-5
COMPILED = ("cpu", "triton")
REPLAYED = ", CUDA graph"  # of an implementation's name


def random_scan_inputs(
    batch: int, tokens: int, channels: int, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Make inputs of a scan in both directions, with the strides that a mixer gives them.

    Args:
        batch: sequences.
        tokens: of each.
        channels: of each token.
        dtype: of what depends on the token.

    Returns:
        The arguments of ops.bidirectional_selective_scan by name, on the CPU.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    x, z = normal(batch, tokens, 2 * channels).to(dtype).chunk(2, dim=-1)
    maps = normal(batch, tokens, channels // 32 + 2 * N_STATES).to(dtype)
    step = torch.exp(torch.empty(channels).uniform_(*LOG_STEPS, generator=generator))
    decay = -torch.arange(1.0, N_STATES + 1).repeat(channels, 1)
    return {
        "u": x,
        "delta": (normal(batch, tokens, channels) * 0.5).to(dtype),
        "A": decay * torch.exp(0.3 * normal(channels, N_STATES)),
        "A_b": decay * torch.exp(0.3 * normal(channels, N_STATES)),
        "B": maps[..., -2 * N_STATES : -N_STATES],
        "C": maps[..., -N_STATES:],
        "D": normal(channels),
        "z": z,
        "delta_bias": step + torch.log(-torch.expm1(-step)),
    }


@lru_cache(maxsize=1)
def _scan_inputs(case: SequenceCase, device: str) -> dict[str, Tensor]:
    dtype = getattr(torch, case.dtype)
    given = random_scan_inputs(case.batch, case.tokens, case.channels, dtype)
    return {name: x.to(device) for name, x in given.items()}


def _once(op: Op, tensors: dict[str, Tensor], *, gradient: bool) -> Callable[[], Outputs]:
    """One pass of an op over its tensors: outputs, and with gradients those of every tensor."""

    def forward() -> Outputs:
        with torch.inference_mode():
            return _as_tuple(op(**tensors))

    def both() -> Outputs:
        leaves = {name: x.detach().requires_grad_() for name, x in tensors.items()}
        outputs = _as_tuple(op(**leaves))
        gradients = torch.autograd.grad(outputs, list(leaves.values()), probes(outputs))
        return *(x.detach() for x in outputs), *gradients

    @lru_cache(maxsize=4)
    def fixed_probe(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return torch.randn(shape, generator=generator).to(device, dtype)

    def probes(outputs: Outputs) -> Outputs:
        return tuple(fixed_probe(x.shape, x.dtype, x.device) for x in outputs)

    return both if gradient else forward


def _as_tuple(outputs: Tensor | Outputs) -> Outputs:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _with_backend(op: Op, backend: str, device: str) -> Op:
    """The op on one backend.

    Raises:
        BackendError: it does not run on this machine or device.
    """
    statuses = [status for status in ops.explain_backends() if status.backend == backend]
    if not statuses:
        raise BackendError(f"there is no backend {backend!r}")
    if not any(status.available for status in statuses):
        raise BackendError(statuses[0].reason)
    if backend == "cpu" and device != "cpu":
        raise BackendError(f"the backend 'cpu' does not run on {device}")
    return lambda **tensors: op(**tensors, backend=backend)


def build_scan(case: ScanCase, name: str, device: str) -> Implementation:
    """Build an implementation of a scan in both directions; as of `build`."""
    tensors = _scan_inputs(case, device)
    # The recurrence runs forward once in a step of training too, and again for the gradients.
    n_updates = 2 * case.batch * case.tokens * case.channels * N_STATES
    gradient = case.direction != "forward"
    call = _once(_scan_op(name, device), tensors, gradient=gradient)
    if name.startswith("triton") and device == "cuda":
        sizes = (case.batch, case.tokens, case.channels)
        ops.warmup(*sizes, dtype=tensors["u"].dtype, gradient=gradient)
    if name.endswith(REPLAYED):
        call = _replayed(call, device)
    return Implementation(call, n_updates=0 if gradient else n_updates)


def _replayed(call: Callable[[], Outputs], device: str) -> Callable[[], Outputs]:
    """The call as a CUDA graph, which the processor starts at once.

    Raises:
        BackendError: there is no GPU.
    """
    if device != "cuda":
        raise BackendError(f"a CUDA graph does not run on {device}")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = call()

    def replay() -> Outputs:
        graph.replay()
        return outputs

    return replay


def _scan_op(name: str, device: str) -> Op:
    """A scan in both directions, as one implementation does it."""
    name = name.removesuffix(REPLAYED)
    if name == "cpu, two calls":
        return _two_calls(_with_backend(ops.selective_scan, "cpu", device))
    if name in ("cpu", "triton", "torch", "reference"):
        op = _with_backend(ops.bidirectional_selective_scan, name, device)
        return lambda **tensors: op(**tensors, delta_softplus=True)
    return peers.both_ways(peers.scan(name))


def _two_calls(op: Op) -> Op:
    """A call per direction, and their sum."""

    def both(A_b: Tensor, **tensors: Tensor) -> Tensor:
        forward = op(**tensors, delta_softplus=True)
        backward = op(**{**tensors, "A": A_b}, delta_softplus=True, reverse=True)
        if isinstance(forward, tuple) or isinstance(backward, tuple):
            raise TypeError("a scan gave more than its output")
        return forward + backward

    return both


def build_silence(case: SilenceCase, name: str, device: str) -> Implementation:
    """Build an implementation of a scan of silence or noise; as of `build`."""
    tensors = dict(_scan_inputs(case, device))
    u = tensors["u"].clone()
    if name == "silence":
        u[:, 1:] = 0  # one sound, and then its echo in the state
    elif name == "half silence":
        u[:, u.shape[1] // 2 :] = 0
    elif name == "large steps":
        tensors["delta"] = torch.full_like(tensors["delta"], LARGE_STEP)
    tensors["u"] = u
    op = _with_backend(ops.bidirectional_selective_scan, case.backend, device)
    tokens = min(case.tokens, 128)
    short = {k: x[:, -tokens:] if x.ndim == 3 else x for k, x in tensors.items()}

    def run(given: dict[str, Tensor], with_op: Op) -> Callable[[], Outputs]:
        return _once(lambda **x: with_op(**x, delta_softplus=True), given, gradient=False)

    truth = _with_backend(ops.bidirectional_selective_scan, "reference", device)
    return Implementation(
        run(tensors, op),
        pair=lambda: (run(short, op)(), run(short, truth)()),
        n_updates=2 * u.numel() * N_STATES,
    )


def build_conv(case: ConvCase, name: str, device: str) -> Implementation:
    """Build an implementation of the causal convolution; as of `build`."""
    generator = torch.Generator().manual_seed(0)
    dtype = getattr(torch, case.dtype)
    xz = torch.randn(case.batch, case.tokens, 2 * case.channels, generator=generator)
    tensors = {
        "x": xz.to(device, dtype)[..., : case.channels],  # a mixer convolves one half of a product
        "weight": torch.randn(case.channels, N_TAPS, generator=generator).to(device, dtype),
        "bias": torch.randn(case.channels, generator=generator).to(device, dtype),
    }
    op: Op = _pytorch_conv
    if name in COMPILED:
        op = partial(_with_backend(ops.causal_conv1d, name, device), activation="silu")
    return Implementation(_once(op, tensors, gradient=case.direction != "forward"))


def _pytorch_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same by PyTorch, which wants channels before tokens, for what wants them after."""
    out = F.conv1d(
        x.transpose(1, 2),
        weight.unsqueeze(1),
        bias,
        padding=weight.shape[1] - 1,
        groups=x.shape[2],
    )
    return F.silu(out[..., : x.shape[1]]).transpose(1, 2).contiguous()


def build_norm(case: NormCase, name: str, device: str) -> Implementation:
    """Build an implementation of the addition with RMSNorm; as of `build`."""
    generator = torch.Generator().manual_seed(0)
    dtype, shape = getattr(torch, case.dtype), (case.batch, case.tokens, case.channels)
    tensors = {
        "x": torch.randn(shape, generator=generator).to(device, dtype),
        "residual": torch.randn(shape, generator=generator).to(device),
        "weight": torch.randn(case.channels, generator=generator).to(device),
    }
    op: Op = _pytorch_norm
    if name in COMPILED:
        op = _with_backend(ops.add_rms_norm, name, device)
    return Implementation(_once(op, tensors, gradient=case.direction != "forward"))


def _pytorch_norm(x: Tensor, residual: Tensor, weight: Tensor) -> Outputs:
    """The same by PyTorch's own norm."""
    total = residual + x
    return F.rms_norm(total, weight.shape, weight, EPS).to(x.dtype), total


def build_cross_scan(case: CrossScanCase, name: str, device: str) -> Implementation:
    """Build an implementation of a scan of a map; as of `build`."""
    tensors = _map_inputs(case, device)
    op = _with_backend(ops.cross_selective_scan, name, device)
    n_updates = N_DIRECTIONS * tensors["u"].numel() * N_STATES
    return Implementation(_once(op, tensors, gradient=False), n_updates=n_updates)


@lru_cache(maxsize=1)
def _map_inputs(case: CrossScanCase, device: str) -> dict[str, Tensor]:
    """Inputs of a scan of a map in four directions, as SS2D makes them."""
    length, channels = case.side_length, case.channels
    rank = channels // 32
    given = random_scan_inputs(1, length * length, N_DIRECTIONS * channels, torch.float32)
    generator = torch.Generator().manual_seed(2)
    sizes = (N_DIRECTIONS, rank + 2 * N_STATES)
    maps = torch.randn(1, length, length, *sizes, generator=generator)
    dt, b, c = maps.to(getattr(torch, case.dtype)).split([rank, N_STATES, N_STATES], dim=-1)
    weight = torch.randn(N_DIRECTIONS, channels, rank, generator=generator) * rank**-0.5
    u = torch.randn(1, length, length, channels, generator=generator)
    tensors = {
        "u": u.to(dt.dtype),
        "dt": dt,
        "A": given["A"],
        "B": b,
        "C": c,
        "dt_weight": weight.to(dt.dtype),
        "D": given["D"],
        "delta_bias": given["delta_bias"],
    }
    return {name: x.to(device) for name, x in tensors.items()}
