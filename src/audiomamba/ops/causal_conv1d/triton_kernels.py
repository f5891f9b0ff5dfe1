"""The kernels of the causal convolution for GPUs, in Triton.

A tile has tokens along its first axis and channels along its last. Each tap reads the tile once
more, shifted by a token; all but the first reading are served by the cache.
"""

import triton
import triton.language as tl

__all__ = ["convolve", "gradient"]


@triton.jit
def _sigmoid(x):
    """1 / (1 + exp(-x)), without overflow."""
    power = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, power) / (1.0 + power)


@triton.jit
def _shifted(x_at, x_token, t, e, in_e, length, AWAY: tl.constexpr, REVERSE: tl.constexpr):
    """The inputs that lie AWAY tokens before the present ones, after them if reversed."""
    source = t + AWAY if REVERSE else t - AWAY
    there = in_e & (source >= 0) & (source < length)
    return tl.load(x_at + source * x_token + e, mask=there, other=0.0).to(tl.float32)


@triton.jit
def _sum_of_taps(
    x_at, x_token, weight_ptr, bias_ptr, t, e, in_e, length,
    HAS_BIAS: tl.constexpr, REVERSE: tl.constexpr, WIDTH: tl.constexpr,
    TOKENS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The convolution before its activation, (tokens, channels)."""
    out = tl.zeros((TOKENS, BLOCK), tl.float32)
    if HAS_BIAS:
        out += tl.load(bias_ptr + e, mask=in_e, other=0.0)
    for k in tl.static_range(WIDTH):
        x = _shifted(x_at, x_token, t, e, in_e, length, WIDTH - 1 - k, REVERSE)
        out += x * tl.load(weight_ptr + e * WIDTH + k, mask=in_e, other=0.0)
    return out


@triton.jit
def convolve(
    x_ptr, x_batch, x_token, weight_ptr, bias_ptr, lengths_ptr, out_ptr, tokens, channels,
    HAS_BIAS: tl.constexpr, HAS_LENGTHS: tl.constexpr, SILU: tl.constexpr, REVERSE: tl.constexpr,
    WIDTH: tl.constexpr, TOKENS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The convolution of one tile. Grid: blocks of channels, tiles of tokens, batch."""
    sample = tl.program_id(2).to(tl.int64)
    t = tl.program_id(1).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)[:, None]
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    in_e = e < channels
    length = tl.load(lengths_ptr + sample) if HAS_LENGTHS else tokens
    length = tl.minimum(length, tokens)
    out = _sum_of_taps(
        x_ptr + sample * x_batch, x_token, weight_ptr, bias_ptr, t, e, in_e, length,
        HAS_BIAS, REVERSE, WIDTH, TOKENS, BLOCK,
    )  # fmt: skip
    if SILU:
        out = out * _sigmoid(out)
    out = tl.where(t < length, out, 0.0).to(out_ptr.dtype.element_ty)
    tl.store(out_ptr + (sample * tokens + t) * channels + e, out, mask=in_e & (t < tokens))


@triton.jit
def gradient(
    x_ptr, x_batch, x_token, grad_ptr, grad_batch, grad_token,
    weight_ptr, bias_ptr, lengths_ptr, inner_ptr, sums_ptr, tokens, channels, n_tiles,
    HAS_BIAS: tl.constexpr, HAS_LENGTHS: tl.constexpr, SILU: tl.constexpr, REVERSE: tl.constexpr,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, TOKENS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient before the activation, and its sums over tokens for the weights and the bias.

    The gradient of x is a convolution of `inner` (batch, tokens, channels), float32, with the same
    taps in the other sense. A program walks over n_tiles tiles and leaves its own `sums`
    (batch, chunks, width + 1, channels), the last row for the bias; the caller adds them up. ROWS
    is the power of 2 that holds them.
    Grid: blocks of channels, chunks of tokens, batch.
    """
    chunk, sample = tl.program_id(1), tl.program_id(2).to(tl.int64)
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    in_e = e < channels
    length = tl.load(lengths_ptr + sample) if HAS_LENGTHS else tokens
    length = tl.minimum(length, tokens)
    x_at = x_ptr + sample * x_batch
    first = chunk.to(tl.int64) * n_tiles * TOKENS + tl.arange(0, TOKENS)[:, None]
    k_of_row = tl.arange(0, ROWS)[:, None]
    sums = tl.zeros((ROWS, BLOCK), tl.float32)
    for tile in range(n_tiles):
        t = first + tile * TOKENS
        grad_at = grad_ptr + sample * grad_batch + t * grad_token + e
        inner = tl.load(grad_at, mask=in_e & (t < length), other=0.0).to(tl.float32)
        if SILU:
            out = _sum_of_taps(
                x_at, x_token, weight_ptr, bias_ptr, t, e, in_e, length,
                HAS_BIAS, REVERSE, WIDTH, TOKENS, BLOCK,
            )  # fmt: skip
            gate = _sigmoid(out)
            inner *= gate * (1.0 + out * (1.0 - gate))
        inner_at = inner_ptr + (sample * tokens + t) * channels + e
        tl.store(inner_at, inner, mask=in_e & (t < tokens))
        for k in tl.static_range(WIDTH):
            x = _shifted(x_at, x_token, t, e, in_e, length, WIDTH - 1 - k, REVERSE)
            of_tap = tl.sum(inner * x, axis=0, keep_dims=True)
            sums += tl.where(k_of_row == k, of_tap, 0.0)
        sums += tl.where(k_of_row == WIDTH, tl.sum(inner, axis=0, keep_dims=True), 0.0)
    row = (sample * tl.num_programs(1) + chunk) * (WIDTH + 1) + k_of_row
    tl.store(sums_ptr + row * channels + e, sums, mask=in_e & (k_of_row <= WIDTH))
