"""Scans of a map in four directions on the compiled library, as PyTorch operators.

Each direction walks over the map where it lies, by a table of rows, and adds to one result: nothing
is laid out anew, forward or backward.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from audiomamba.ops import native
from audiomamba.ops.selective_scan.inputs import ScanInputs
from audiomamba.ops.selective_scan.native_scan import (
    CHUNK_TOKENS,
    Gradients,
    Path,
    go_back,
    room_for_states,
    run,
)

__all__ = ["four_scans"]

N_DIRECTIONS = 4


def four_scans(
    u: Tensor,
    delta: list[Tensor],
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    *,
    columns: int,
) -> Tensor:
    """Scan a map in four directions and add the results.

    Args:
        u: (batch, tokens, channels), row of the map after row.
        delta: four of the same.
        A: (4 * channels, states), float32.
        B: (batch, tokens, 4, states).
        C: (batch, tokens, 4, states).
        D: (4 * channels,), float32.
        delta_bias: (4 * channels,), float32.
        columns: of the map.

    Returns:
        (batch, tokens, channels).
    """
    tensors = (u, *delta, A, B, C, D, delta_bias)
    save = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    call: Any = _run if native.seen_by_none(*tensors) else _scan
    out: Tensor = call(u, delta, A, B, C, D, delta_bias, columns, save, CHUNK_TOKENS)[0]
    return out


class _Map(NamedTuple):
    """What the operators are given."""

    u: Tensor
    delta: list[Tensor]
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    delta_bias: Tensor
    columns: int
    chunk_tokens: int

    def direction(self, k: int) -> tuple[ScanInputs, Path]:
        """What direction k reads, and how it walks."""
        weights = (self.A, self.D, self.delta_bias)
        A, D, bias = (weight.chunk(N_DIRECTIONS)[k] for weight in weights)
        B, C = self.B[:, :, k : k + 1], self.C[:, :, k : k + 1]
        order = _by_column(self.u.shape[1] // self.columns, self.columns) if k % 2 else None
        path = Path(k >= N_DIRECTIONS // 2, None, order, self.chunk_tokens)
        return ScanInputs(self.u, self.delta[k], A, B, C, D, None, bias, None, None, True), path


def _run(
    u: Tensor,
    delta: list[Tensor],
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    columns: int,
    save: bool,
    chunk_tokens: int,
) -> tuple[Tensor, Tensor]:
    given = _Map(u, delta, A, B, C, D, delta_bias, columns, chunk_tokens)
    out, saved = _scan_fake(u, delta, A, B, C, D, delta_bias, columns, save, chunk_tokens)
    states = saved.chunk(N_DIRECTIONS) if save else [None] * N_DIRECTIONS
    for k in range(N_DIRECTIONS):
        inputs, path = given.direction(k)
        run(inputs, path, out, accumulate=k > 0, saved=states[k])
    return out, saved


_scan = torch.library.custom_op(
    "audiomamba::cross_selective_scan_v1", _run, mutates_args=(), device_types="cpu"
)


@_scan.register_fake
def _scan_fake(u: Tensor, _delta: list[Tensor], A: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    *_, save, chunk_tokens = rest
    saved = room_for_states(u, A, Path(chunk_tokens=chunk_tokens))
    room = N_DIRECTIONS * saved.numel() if save else 0
    return u.new_empty(u.shape), A.new_empty(room)


@torch.library.custom_op(
    "audiomamba::cross_selective_scan_backward_v1", mutates_args=(), device_types="cpu"
)
def _scan_backward(
    grad_out: Tensor,
    saved: Tensor,
    u: Tensor,
    delta: list[Tensor],
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    columns: int,
    chunk_tokens: int,
) -> list[Tensor]:
    if saved.numel() == 0:  # the forward call did not know that this one would come
        _, saved = _scan(u, delta, A, B, C, D, delta_bias, columns, True, chunk_tokens)
    given = _Map(u, delta, A, B, C, D, delta_bias, columns, chunk_tokens)
    states = saved.chunk(N_DIRECTIONS)
    of_u = u.new_empty(u.shape)
    each: list[Gradients] = []
    for k in range(N_DIRECTIONS):
        inputs, path = given.direction(k)
        grads = Gradients.of(inputs)._replace(u=of_u)
        go_back(grad_out, states[k], inputs, path, grads, accumulate=k > 0)
        each.append(grads)
    weights = [torch.cat([getattr(one, name) for one in each]) for name in ("A", "D", "delta_bias")]
    maps = [torch.cat([getattr(one, name) for one in each], dim=2) for name in ("B", "C")]
    return [of_u, *(one.delta for one in each), *weights, *maps]


@_scan_backward.register_fake
def _scan_backward_fake(
    _grad_out: Tensor,
    _saved: Tensor,
    u: Tensor,
    delta: list[Tensor],
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    *_: int,
) -> list[Tensor]:
    alike = [one.new_empty(one.shape) for one in (u, *delta, A, D, delta_bias)]
    return [*alike, A.new_empty(B.shape), A.new_empty(C.shape)]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    u, delta, A, B, C, D, delta_bias, columns, _, chunk_tokens = inputs
    ctx.save_for_backward(output[1], u, *delta, A, B, C, D, delta_bias)
    ctx.flags = (columns, chunk_tokens)


def _backward(ctx: Any, grad_out: Tensor, _: Tensor) -> tuple[Any, ...]:
    saved, u, *delta, A, B, C, D, delta_bias = ctx.saved_tensors
    grads = _scan_backward(grad_out, saved, u, delta, A, B, C, D, delta_bias, *ctx.flags)
    of_u, *of_delta, of_A, of_D, of_bias, of_B, of_C = grads
    return (of_u, of_delta, of_A, of_B.to(B.dtype), of_C.to(C.dtype), of_D, of_bias, *[None] * 3)


_scan.register_autograd(_backward, setup_context=_setup_context)


@lru_cache(maxsize=64)
def _by_column(rows: int, columns: int) -> Tensor:
    """The positions of a map, numbered row after row, column after column."""
    return torch.arange(rows * columns, dtype=torch.int32).view(rows, columns).t().flatten()
