"""The kernels of residual addition and RMSNorm for GPUs, in Triton: a row at a time."""

import triton
import triton.language as tl

__all__ = ["add_and_normalize", "gradient"]


@triton.jit
def add_and_normalize(
    x_ptr, residual_ptr, weight_ptr, normed_ptr, total_ptr, scale_ptr, channels, eps,
    HAS_RESIDUAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row. Grid: rows."""
    row = tl.program_id(0).to(tl.int64)
    e = tl.arange(0, BLOCK)
    inside = e < channels
    total = tl.load(x_ptr + row * channels + e, mask=inside, other=0.0).to(tl.float32)
    if HAS_RESIDUAL:
        total += tl.load(residual_ptr + row * channels + e, mask=inside, other=0.0)
    scale = 1.0 / tl.sqrt(tl.sum(total * total, axis=0) / channels + eps)
    normed = total * scale * tl.load(weight_ptr + e, mask=inside, other=0.0)
    tl.store(total_ptr + row * channels + e, total, mask=inside)
    tl.store(normed_ptr + row * channels + e, normed.to(normed_ptr.dtype.element_ty), mask=inside)
    tl.store(scale_ptr + row, scale)


@triton.jit
def gradient(
    grad_normed_ptr, grad_total_ptr, total_ptr, scale_ptr, weight_ptr,
    grad_x_ptr, grad_residual_ptr, sums_ptr, rows, channels, rows_each,
    HAS_RESIDUAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradients of some rows, and their share of that of the weight.

    The caller adds up `sums` (programs, channels). Grid: programs of rows_each rows.
    """
    e = tl.arange(0, BLOCK)
    inside = e < channels
    weight = tl.load(weight_ptr + e, mask=inside, other=0.0)
    of_weight = tl.zeros((BLOCK,), tl.float32)
    first = tl.program_id(0).to(tl.int64) * rows_each
    end = tl.zeros((1,), tl.int64) + rows  # a scalar makes no mask
    for i in range(rows_each):
        row = first + i
        there = inside & (row < end)
        index = row * channels + e
        of_normed = tl.load(grad_normed_ptr + index, mask=there, other=0.0).to(tl.float32)
        total = tl.load(total_ptr + index, mask=there, other=0.0)
        scale = tl.load(scale_ptr + tl.minimum(row, rows - 1))
        unit = total * scale
        of_weight += of_normed * unit
        of_unit = of_normed * weight
        along = tl.sum(of_unit * unit, axis=0) / channels
        of_total = scale * (of_unit - unit * along)
        of_total += tl.load(grad_total_ptr + index, mask=there, other=0.0)
        tl.store(grad_x_ptr + index, of_total.to(grad_x_ptr.dtype.element_ty), mask=there)
        if HAS_RESIDUAL:
            tl.store(grad_residual_ptr + index, of_total, mask=there)
    tl.store(sums_ptr + tl.program_id(0) * channels + e, of_weight, mask=inside)
