"""Get the kernels for GPUs ready for given sizes: compiled, and launched as is fastest here."""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from audiomamba.errors import BackendError, ConfigError
from audiomamba.ops import gpu
from audiomamba.ops.add_rms_norm import add_rms_norm
from audiomamba.ops.causal_conv1d import causal_conv1d
from audiomamba.ops.launch_config import LaunchConfig, config_cache
from audiomamba.ops.selective_scan import bidirectional_selective_scan, selective_scan

__all__ = ["Timer", "Tuned", "gpu_seconds", "warmup"]

Timer = Callable[[Callable[[], object]], float]

N_TAPS = 4  # of Mamba's convolution
N_ROUNDS = 9


class _Sizes(NamedTuple):
    """What warmup was asked for."""

    batch: int
    tokens: int
    channels: int
    n_states: int
    dtype: torch.dtype
    directions: int
    gradient: bool


class Tuned(NamedTuple):
    """What was found for one pass of the scan.

    Args:
        kernel: "forward" or "backward".
        config: the fastest, which is used from now on.
        time_s: of one call with it; the backward pass is timed together with the forward pass.
    """

    kernel: str
    config: LaunchConfig
    time_s: float


def warmup(
    batch: int,
    tokens: int,
    channels: int,
    *,
    n_states: int = 16,
    dtype: torch.dtype = torch.float32,
    bidirectional: bool = True,
    gradient: bool = False,
    again: bool = False,
    timer: Timer | None = None,
) -> list[Tuned]:
    """Compile the GPU kernels for given sizes, time how the scan is best launched, and keep it.

    Sizes that were timed before are compiled and not timed again. What is found is written to the
    user's cache folder and used by every later process with the same device, versions and kernels.
    Nothing is ever timed elsewhere: without a warmup, defaults are used. It takes seconds to a
    minute for each size.

    Args:
        batch: sequences, at least 1.
        tokens: of each, at least 1.
        channels: of each token, at least 1; of a mixer its inner width.
        n_states: of each channel.
        dtype: of the tensors: float32, bfloat16 or float16.
        bidirectional: scan both directions in one call, as AuM does.
        gradient: get the backward pass ready as well.
        again: time once more what was timed before.
        timer: what times a call, in s; None for events of the GPU.

    Returns:
        What was chosen for each pass that was timed now.

    Raises:
        BackendError: there is no GPU that can run the kernels, or a CUDA graph is being recorded.
        ConfigError: a size is not positive, or the cache folder cannot be written.

    Examples:
        >>> if torch.cuda.is_available():  # what AuM-B scans of eight clips of 10 s
        ...     tuned = warmup(8, 513, 1536)
    """
    directions = 2 if bidirectional else 1
    sizes = _Sizes(batch, tokens, channels, n_states, dtype, directions, gradient)
    _check(sizes, timer)
    found = _tuned(sizes, timer or gpu_seconds, again=again)
    _compile_others(sizes)
    try:
        config_cache().write()
    except OSError as error:
        path = config_cache().path
        raise ConfigError(f"{path} cannot be written ({error}); set XDG_CACHE_HOME") from error
    return found


def gpu_seconds(call: Callable[[], object]) -> float:
    """Time a call by events of the GPU.

    Args:
        call: what is timed; it is run once before.

    Returns:
        The median of a few runs, in s.
    """
    call()
    taken: list[float] = []
    for _ in range(N_ROUNDS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        taken.append(start.elapsed_time(end) / 1000)
    return statistics.median(taken)


def _check(sizes: _Sizes, timer: Timer | None) -> None:
    for name in ("batch", "tokens", "channels", "n_states"):
        if getattr(sizes, name) < 1:
            raise ConfigError(f"{name} is {getattr(sizes, name)}; expected at least 1")
    problem = gpu.problem()
    if problem is not None:
        raise BackendError(f"nothing to warm up: {problem}")
    if gpu.interpreted() and timer is None:
        raise BackendError("nothing to warm up: Triton's interpreter is for tests and has no speed")
    if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        raise BackendError("a CUDA graph is being recorded; call warmup before that")


def _tuned(sizes: _Sizes, timer: Timer, *, again: bool) -> list[Tuned]:
    """Find the best configuration of each pass, of the forward pass first."""
    from audiomamba.ops.selective_scan import triton_configs as configs

    passes: tuple[configs.Kernel, ...] = ("forward", "backward") if sizes.gradient else ("forward",)
    op, tensors = _scan(sizes)
    n_channels = sizes.batch * sizes.channels
    found = []
    for kernel in passes:
        work = configs.Work(
            kernel, sizes.dtype, sizes.directions, sizes.n_states, n_channels, sizes.tokens
        )
        call = partial(_run, op, tensors, gradient=kernel == "backward")
        if config_cache().get(configs.key_of(work)) is not None and not again:
            call()
            continue
        best, time_s = _fastest(configs.key_of(work), configs.CANDIDATES[kernel], call, timer)
        found.append(Tuned(kernel, best, time_s))
    return found


def _fastest(
    key: str,
    candidates: tuple[LaunchConfig, ...],
    call: Callable[[], object],
    timer: Timer,
) -> tuple[LaunchConfig, float]:
    """Time all configurations of a pass and use the fastest from now on."""
    from triton.runtime.errors import OutOfResources

    cache, times = config_cache(), dict[LaunchConfig, float]()
    for config in candidates:
        cache.use(key, config)
        try:
            times[config] = timer(call)
        except OutOfResources:
            continue
        finally:
            cache.forget(key)
    if not times:
        raise BackendError(f"{key}: no launch configuration fits this GPU; use backend='torch'")
    best = min(times, key=times.__getitem__)  # the first of equals: the default stands first
    cache.use(key, best)
    return best, times[best]


def _scan(sizes: _Sizes) -> tuple[Callable[..., Any], dict[str, Tensor]]:
    """A scan with all that a mixer gives it, and its tensors."""
    device, dtype = _device(), sizes.dtype

    def spread(n: int) -> Tensor:
        row = torch.linspace(-1, 1, n, device=device, dtype=dtype)
        return row.repeat(sizes.batch, sizes.tokens, 1)

    decay = -torch.arange(1.0, sizes.n_states + 1, device=device).repeat(sizes.channels, 1)
    tensors = {
        **{name: spread(sizes.channels) for name in ("u", "delta", "z")},
        **{name: spread(sizes.n_states) for name in ("B", "C")},
        **{name: torch.ones(sizes.channels, device=device) for name in ("D", "delta_bias")},
        "A": decay,
    }
    op: Callable[..., Any] = selective_scan
    if sizes.directions == 2:
        op, tensors["A_b"] = bidirectional_selective_scan, decay.clone()
    return partial(op, delta_softplus=True, backend="triton"), tensors


def _run(op: Callable[..., Any], tensors: dict[str, Tensor], *, gradient: bool) -> None:
    if not gradient:
        with torch.no_grad():
            op(**tensors)
        return
    leaves = {name: x.detach().requires_grad_() for name, x in tensors.items()}
    out = op(**leaves)
    torch.autograd.grad(out, list(leaves.values()), torch.ones_like(out))


def _compile_others(sizes: _Sizes) -> None:
    """Compile convolution and norm."""
    shape, device = (sizes.batch, sizes.tokens, sizes.channels), _device()
    x = torch.zeros(shape, device=device, dtype=sizes.dtype, requires_grad=sizes.gradient)
    taps = torch.ones(sizes.channels, N_TAPS, device=device)
    out = causal_conv1d(x, taps, taps[:, 0], activation="silu", backend="triton")
    normed, total = add_rms_norm(x, x.float(), taps[:, 0], backend="triton")
    if sizes.gradient:
        torch.autograd.grad(out.sum() + normed.sum() + total.sum(), x)


def _device() -> str:
    return "cpu" if gpu.interpreted() else "cuda"
