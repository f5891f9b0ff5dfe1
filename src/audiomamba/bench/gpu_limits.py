"""What a GPU can do at most: exponentials per second, and bytes moved per second.

Both are measured on the device by kernels that do nothing else. A scan needs one exponential per
token, channel, state and direction, so the first bounds every way of computing it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from audiomamba.bench import triton_kernels as kernels
from audiomamba.ops.autotune import gpu_seconds

__all__ = ["copied", "exponentials", "measure"]

N_THREADS_WIDE, N_EACH = 128, 16  # a program has so many threads, and each so many numbers
N_WARPS = 4
PROGRAMS, N_ROUNDS = 1 << 14, 1 << 10
COPY_BLOCK, COPY_BYTES = 4096, 1 << 30


def exponentials(x: Tensor, n_programs: int, n_rounds: int) -> Tensor:
    """Compute exponentials and nothing else.

    Args:
        x: (16, 128), float32, from 0 to 1; every program begins with it.
        n_programs: how many do the same.
        n_rounds: how often; n_programs * n_rounds * x.numel() exponentials are computed.

    Returns:
        (n_programs, 128), the sums of 16 numbers each.
    """
    out = x.new_empty((n_programs, N_THREADS_WIDE))
    kernels.exponentials[(n_programs,)](
        x, out, n_rounds, EACH=N_EACH, WIDE=N_THREADS_WIDE, num_warps=N_WARPS
    )
    return out


def copied(x: Tensor) -> Tensor:
    """Copy a tensor.

    Args:
        x: contiguous.

    Returns:
        Its copy.
    """
    out = torch.empty_like(x)
    kernels.copy[(-(-x.numel() // COPY_BLOCK),)](
        x, out, x.numel(), BLOCK=COPY_BLOCK, num_warps=N_WARPS
    )
    return out


def measure(timer: Callable[[Callable[[], object]], float] = gpu_seconds) -> dict[str, float]:
    """Measure both limits of the GPU in use.

    Args:
        timer: what times a call, in s.

    Returns:
        Exponentials per second, and bytes read and written per second, ready for JSON.
    """
    x = torch.linspace(0, 1, N_EACH * N_THREADS_WIDE, device="cuda").view(N_EACH, N_THREADS_WIDE)
    exponential_s = timer(lambda: exponentials(x, PROGRAMS, N_ROUNDS))
    block = torch.zeros(COPY_BYTES // 4, device="cuda")
    copy_s = timer(lambda: copied(block))
    return {
        "exponentials_per_s": PROGRAMS * N_ROUNDS * x.numel() / exponential_s,
        "copied_bytes_per_s": 2 * COPY_BYTES / copy_s,
    }
