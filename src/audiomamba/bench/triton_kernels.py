"""The kernels that measure what a GPU can do at most, in Triton."""

import triton
import triton.language as tl

__all__ = ["copy", "exponentials"]


@triton.jit
def exponentials(x_ptr, out_ptr, n_rounds, EACH: tl.constexpr, WIDE: tl.constexpr):
    """2^-x of 2^-x of ..., so often: every number waits for its own last one only."""
    wide = tl.arange(0, WIDE)[None, :]
    x = tl.load(x_ptr + tl.arange(0, EACH)[:, None] * WIDE + wide)
    for _ in range(n_rounds):
        x = tl.exp2(-x)
    at = out_ptr + tl.program_id(0).to(tl.int64) * WIDE + wide
    tl.store(at, tl.sum(x, axis=0, keep_dims=True))


@triton.jit
def copy(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """As it says."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n), mask=at < n)
