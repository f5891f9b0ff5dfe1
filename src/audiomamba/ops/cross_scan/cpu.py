"""Scans of a map in four directions on the compiled library, as PyTorch operators.

Each direction walks over the map where it lies, by a table of rows, and adds to one result: nothing
is laid out anew, forward or backward.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from audiomamba.ops import native
from audiomamba.ops.cross_scan.inputs import NO_STEP, MapInputs
from audiomamba.ops.cross_scan.orders import N_DIRECTIONS
from audiomamba.ops.linear import linear
from audiomamba.ops.selective_scan import native_scan
from audiomamba.ops.selective_scan.inputs import Gradients, ScanInputs
from audiomamba.ops.selective_scan.native_scan import (
    CHUNK_TOKENS,
    Traversal,
    new_saved_states,
)

__all__ = ["scan"]

# The arguments of the operators, as PyTorch's schemas write them: those of _Map.
MAP_SCHEMA = (
    "Tensor u, Tensor[] delta, Tensor A, Tensor B, Tensor C, Tensor D, Tensor delta_bias, "
    "int columns"
)


class _Map(NamedTuple):
    """What the operators are given.

    Args:
        u: (batch, tokens, channels), row of the map after row.
        delta: four of the same.
        A: (4 * channels, states), float32.
        B: (batch, tokens, 4, states).
        C: (batch, tokens, 4, states).
        D: (4 * channels,), float32.
        delta_bias: (4 * channels,), float32.
        columns: of the map.
    """

    u: Tensor
    delta: list[Tensor]
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    delta_bias: Tensor
    columns: int

    @classmethod
    def split(cls, given: Sequence[Any]) -> tuple["_Map", Sequence[Any]]:
        """Take the arguments of an operator apart: those of the map, and what follows them."""
        n = len(cls._fields)
        return cls(*given[:n]), given[n:]

    def direction(self, k: int) -> ScanInputs:
        """What direction k reads."""
        weights = (self.A, self.D, self.delta_bias)
        A, D, bias = (weight.chunk(N_DIRECTIONS)[k] for weight in weights)
        B, C = self.B[:, :, k : k + 1], self.C[:, :, k : k + 1]
        inputs = ScanInputs(self.u, self.delta[k], A, None, B, C, D, delta_bias=bias)
        return inputs._replace(softplus=True, reverse=k >= N_DIRECTIONS // 2)

    def traversal(self, k: int, chunk_tokens: int) -> Traversal:
        """How direction k walks over the map."""
        order = _by_column(self.u.shape[1] // self.columns, self.columns) if k % 2 else None
        return Traversal(order, chunk_tokens)


def scan(inputs: MapInputs, _backend: str) -> Tensor:
    """Walk over the map four times where it lies."""
    u, dt, A, B, C, dt_weight, D, delta_bias, padding = inputs
    delta = [linear(dt[..., k, :], weight) for k, weight in enumerate(dt_weight)]
    if padding is not None:
        delta = [step.masked_fill(padding, NO_STEP) for step in delta]
    given = _Map(
        u.flatten(1, 2),
        [step.flatten(1, 2).to(u.dtype) for step in delta],
        A.float(),
        B.flatten(1, 2).to(u.dtype),
        C.flatten(1, 2).to(u.dtype),
        D.float(),
        delta_bias.float(),
        u.shape[2],
    )
    tensors = (given.u, *given.delta, *given[2:-1])
    save = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    call: Any = _forward if native.is_untraced(*tensors) else _scan
    y: Tensor = call(*given, save, CHUNK_TOKENS)[0]
    return y.view(u.shape)


def _forward(*args: Any) -> tuple[Tensor, Tensor]:
    """Scan: the outputs and the saved states."""
    given, (save, chunk_tokens) = _Map.split(args)
    out, saved = _empty_results(*args)
    states = saved.chunk(N_DIRECTIONS) if save else [None] * N_DIRECTIONS
    for k in range(N_DIRECTIONS):
        native_scan.forward(
            given.direction(k),
            out,
            given.traversal(k, chunk_tokens),
            accumulate=k > 0,
            saved=states[k],
        )
    return out, saved


_scan = torch.library.custom_op(
    "audiomamba::cross_selective_scan_v1",
    _forward,
    mutates_args=(),
    device_types="cpu",
    schema=f"({MAP_SCHEMA}, bool save, int chunk_tokens) -> (Tensor, Tensor)",
)


@_scan.register_fake
def _empty_results(*args: Any) -> tuple[Tensor, Tensor]:
    given, (save, chunk_tokens) = _Map.split(args)
    each = new_saved_states(given.u, given.A, None, chunk_tokens).numel()
    return given.u.new_empty(given.u.shape), given.A.new_empty(N_DIRECTIONS * each if save else 0)


def _gradients(grad_out: Tensor, saved: Tensor, *args: Any) -> list[Tensor]:
    """The gradients of u, of the four deltas, and of A, D, delta_bias, B and C."""
    given, (chunk_tokens,) = _Map.split(args)
    if saved.numel() == 0:  # the forward call did not know that this one would come
        _, saved = _forward(*given, True, chunk_tokens)
    states = saved.chunk(N_DIRECTIONS)
    of_u = given.u.new_empty(given.u.shape)
    each: list[Gradients] = []
    for k in range(N_DIRECTIONS):
        inputs = given.direction(k)
        grads = Gradients.empty(inputs)._replace(u=of_u)
        traversal = given.traversal(k, chunk_tokens)
        native_scan.backward(grad_out, states[k], inputs, grads, traversal, accumulate=k > 0)
        each.append(grads)
    weights = [torch.cat([getattr(one, name) for one in each]) for name in ("A", "D", "delta_bias")]
    maps = [torch.cat([getattr(one, name) for one in each], dim=2) for name in ("B", "C")]
    return [of_u, *(one.delta for one in each), *weights, *maps]


_scan_backward = torch.library.custom_op(
    "audiomamba::cross_selective_scan_backward_v1",
    _gradients,
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor grad_out, Tensor saved, {MAP_SCHEMA}, int chunk_tokens) -> Tensor[]",
)


@_scan_backward.register_fake
def _empty_gradients(_grad_out: Tensor, _saved: Tensor, *args: Any) -> list[Tensor]:
    (u, delta, A, B, C, D, delta_bias, _), _ = _Map.split(args)
    alike = [one.new_empty(one.shape) for one in (u, *delta, A, D, delta_bias)]
    return [*alike, A.new_empty(B.shape), A.new_empty(C.shape)]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    u, delta, A, B, C, D, delta_bias, columns, _, chunk_tokens = inputs
    ctx.save_for_backward(output[1], u, *delta, A, B, C, D, delta_bias)
    ctx.flags = (columns, chunk_tokens)


def _backward(ctx: Any, grad_out: Tensor, _: Tensor) -> tuple[Any, ...]:
    saved, u, *delta, A, B, C, D, delta_bias = ctx.saved_tensors
    grads = _scan_backward(grad_out, saved, u, delta, A, B, C, D, delta_bias, *ctx.flags)
    of_u, *of_delta, of_A, of_D, of_bias, of_B, of_C = grads
    return (of_u, of_delta, of_A, of_B.to(B.dtype), of_C.to(C.dtype), of_D, of_bias, *[None] * 3)


_scan.register_autograd(_backward, setup_context=_keep)


@lru_cache(maxsize=64)
def _by_column(rows: int, columns: int) -> Tensor:
    """The positions of a map, numbered row after row, column after column."""
    return torch.arange(rows * columns, dtype=torch.int32).view(rows, columns).t().flatten()
