"""The selective scan on GPUs, as PyTorch operators with explicit gradients: the backend "triton".

The kernels are in triton_kernels and triton_gradient_kernels. The forward pass keeps nothing for
the backward pass, which finds the states again. All sums are made in a fixed order, so the
gradients are the same every time. No number of a tensor is read on the host, so a CUDA graph can
record a call.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from audiomamba.ops import gpu
from audiomamba.ops.launch_config import LaunchConfig
from audiomamba.ops.selective_scan import triton_configs as configs
from audiomamba.ops.selective_scan import triton_gradient_kernels as gradient_kernels
from audiomamba.ops.selective_scan import triton_kernels as kernels
from audiomamba.ops.selective_scan.inputs import ScanInputs, empty_gradients

__all__ = ["bidirectional_scan", "scan"]

FIRST_UNMIRRORED = (3, 7)  # release of Triton; see triton_kernels
LOG2_E = 1.4426950408889634
CARRY_BLOCK, CARRY_UNROLL = 32, 4
FINISH_TOKENS, FINISH_BLOCK, FINISH_TILES, FINISH_WARPS = 8, 128, 8, 4
# The states inside chunks live only while the chunks are worked on: so many bytes of them at once.
INNER_BYTES = 128 << 20


def scan(inputs: ScanInputs, *, reverse: bool, want_last_state: bool) -> tuple[Tensor, Tensor]:
    """Scan in one direction; the last state is empty unless wanted."""
    out, last_state = _run(inputs, None, reverse, want_last_state)
    return out, last_state


def bidirectional_scan(inputs: ScanInputs, A_b: Tensor) -> Tensor:
    """Scan in both directions, with A and with A_b, and add."""
    return _run(inputs, A_b, reverse=False, want_last_state=False)[0]


def _run(
    inputs: ScanInputs, A_b: Tensor | None, reverse: bool, want_last_state: bool
) -> tuple[Tensor, Tensor]:
    u, delta, A, *others, softplus = inputs
    out, last_state = _scan(u, delta, A, A_b, *others, softplus, reverse, want_last_state)
    return out, last_state


class _Tensors(NamedTuple):
    """What a scan reads, laid out for the kernels: the last axis of each is contiguous."""

    u: Tensor
    delta: Tensor
    A: Tensor
    A_b: Tensor | None
    B: Tensor
    C: Tensor
    D: Tensor | None
    z: Tensor | None
    delta_bias: Tensor | None
    initial_state: Tensor | None
    lengths: Tensor | None


@dataclass(frozen=True)
class _Scan:
    """One scan: its tensors, its sizes, and the launches of its kernels."""

    of: _Tensors
    softplus: bool
    reverse: bool

    @property
    def directions(self) -> int:
        return 1 if self.of.A_b is None else 2

    @cached_property
    def rate(self) -> Tensor:
        """A in base 2, (directions, states, channels)."""
        both = [x for x in (self.of.A, self.of.A_b) if x is not None]
        return (torch.stack(both) * LOG2_E).transpose(1, 2).contiguous()

    def sizes(self) -> tuple[int, ...]:
        """Batch, tokens, channels, states and channels per group."""
        batch, tokens, channels = self.of.u.shape
        groups, states = self.of.B.shape[2:]
        return batch, tokens, channels, states, channels // groups

    def config(self, kernel: configs.Kernel) -> LaunchConfig:
        """How a kernel is launched for these sizes on this device."""
        batch, tokens, channels, states, _ = self.sizes()
        work = configs.Work(
            kernel, self.of.u.dtype, self.directions, states, batch * channels, tokens
        )
        return configs.config_of(work, self.of.u.device)

    def options(self, config: LaunchConfig) -> dict[str, Any]:
        """What the kernels are specialized for."""
        *_, channels, states, per_group = self.sizes()
        tile = configs.tile_of(config, states)
        return {
            "HAS_LENGTHS": self.of.lengths is not None,
            "ONE_GROUP": per_group == channels or per_group % tile.block == 0,
            "EVEN": channels % tile.block == 0 and states == tile.states,
            **tile.constants(),
            "MIRROR": gpu.triton_is_before(FIRST_UNMIRRORED),
            "UNROLL": config.unroll,
            "num_warps": 1,
        }

    def blocks(self, config: LaunchConfig) -> int:
        """How many blocks of channels there are."""
        return -(-self.of.u.shape[2] // configs.tile_of(config, self.of.A.shape[1]).block)

    def chunk_ends(
        self, x: Tensor, maps: Tensor, config: LaunchConfig, kept: Tensor | None, *, adjoint: bool
    ) -> tuple[Tensor, Tensor]:
        """What each chunk makes of an empty state, and the sums of its steps; fill `kept`."""
        batch, tokens, channels, states, per_group = self.sizes()
        n_chunks = -(-tokens // config.chunk_tokens)
        shape = (self.directions, batch, n_chunks, states, channels)
        ends = x.new_empty(shape, dtype=torch.float32)
        sums = x.new_empty((batch, n_chunks, channels), dtype=torch.float32)
        kernels.chunk_ends[(self.blocks(config), n_chunks, batch * self.directions)](
            *_strided(x, 2), *_strided(self.of.delta, 2), *_strided(self.of.z, 2),
            *_strided(maps, 3),
            self.rate, self.of.delta_bias, self.of.lengths, ends, sums, kept,
            batch, tokens, channels, states, per_group, n_chunks, config.chunk_tokens,
            ADJOINT=adjoint, KEEP=kept is not None, REVERSE=self.reverse,
            HAS_Z=self.of.z is not None, HAS_BIAS=self.of.delta_bias is not None,
            SOFTPLUS=self.softplus, **self.options(config),
        )  # fmt: skip
        return ends, sums

    def carry(
        self, ends: Tensor, sums: Tensor, first: Tensor | None, last: Tensor, *, reverse: bool
    ) -> None:
        """Make of the ends the states that enter; fill `last` unless it is empty."""
        batch, _, channels, states, _ = self.sizes()
        kernels.carry[(-(-channels // CARRY_BLOCK), batch, self.directions)](
            ends, sums, self.rate, first, last,
            batch, channels, states, ends.shape[2],
            REVERSE=reverse, HAS_FIRST=first is not None, WANT_LAST=last.numel() > 0,
            STATES=1 << (states - 1).bit_length(), BLOCK=CARRY_BLOCK, UNROLL=CARRY_UNROLL,
            num_warps=1,
        )  # fmt: skip

    def outputs(self, entering: Tensor | None, config: LaunchConfig, last: Tensor) -> Tensor:
        """Scan the chunks; fill `last` unless it is empty."""
        of, (batch, tokens, channels, states, per_group) = self.of, self.sizes()
        n_chunks = -(-tokens // config.chunk_tokens)
        out = of.u.new_empty((batch, tokens, channels))
        half = None if self.directions == 1 else torch.empty_like(out, dtype=torch.float32)
        kernels.outputs[(self.blocks(config), n_chunks, batch)](
            *_strided(of.u, 2), *_strided(of.delta, 2), *_strided(of.z, 2),
            *_strided(of.B, 3), *_strided(of.C, 3),
            self.rate, of.D, of.delta_bias, of.lengths, entering, half, out, last,
            batch, tokens, channels, states, per_group, n_chunks, config.chunk_tokens,
            DIRECTIONS=self.directions, REVERSE=self.reverse,
            HAS_ENTERING=entering is not None, WANT_LAST=last.numel() > 0,
            HAS_Z=of.z is not None, HAS_D=of.D is not None, HAS_BIAS=of.delta_bias is not None,
            SOFTPLUS=self.softplus, **self.options(config),
        )  # fmt: skip
        return out

    def gradients(
        self, found: "_Found", entering: Tensor, leaving: Tensor, config: LaunchConfig
    ) -> None:
        """Find the sums over states, and the shares of the gradients of A, B and C."""
        of, (batch, tokens, channels, states, per_group) = self.of, self.sizes()
        n_chunks, options, blocks = entering.shape[2], self.options(config), self.blocks(config)
        tile = configs.tile_of(config, states)
        numbers = batch * blocks * (config.chunk_tokens // config.unroll) * tile.states * tile.block
        n_at_once = min(n_chunks, max(1, INNER_BYTES // (4 * numbers)))
        inner = found.step.new_empty(n_at_once * numbers)
        for first in range(0, n_chunks, n_at_once):
            gradient_kernels.gradients[(blocks, min(n_at_once, n_chunks - first), batch)](
                *_strided(of.u, 2), *_strided(of.B, 3), *_strided(of.C, 3),
                found.step, found.grad, self.rate, of.lengths, entering, leaving, inner,
                found.sum, found.inflow, found.pull, *found.maps, found.decay,
                batch, tokens, channels, states, per_group, n_chunks, config.chunk_tokens, first,
                DIRECTIONS=self.directions, REVERSE=self.reverse, HAS_Z=of.z is not None,
                **options,
            )  # fmt: skip

    def finish(self, found: "_Found", grad_out: Tensor, grads: list[Tensor]) -> None:
        """Fill the gradients of u, delta, D, z and the bias."""
        of, (batch, tokens, channels, *_) = self.of, self.sizes()
        n_chunks = -(-tokens // (FINISH_TILES * FINISH_TOKENS))
        of_D, of_bias = (found.step.new_empty((batch, n_chunks, channels)) for _ in range(2))
        gradient_kernels.finish[(-(-channels // FINISH_BLOCK), n_chunks, batch)](
            *_strided(of.u, 2), *_strided(of.delta, 2), *_strided(of.z, 2), *_strided(grad_out, 2),
            found.step, found.grad, found.sum, found.inflow, found.pull,
            of.D, of.delta_bias, of.lengths, grads[0], grads[1], grads[7], of_D, of_bias,
            tokens, channels, FINISH_TILES,
            DIRECTIONS=self.directions, HAS_Z=of.z is not None, HAS_D=of.D is not None,
            HAS_BIAS=of.delta_bias is not None, SOFTPLUS=self.softplus,
            HAS_LENGTHS=of.lengths is not None, TOKENS=FINISH_TOKENS, BLOCK=FINISH_BLOCK,
            num_warps=FINISH_WARPS,
        )  # fmt: skip
        if of.D is not None:
            grads[6] = of_D.sum(dim=(0, 1))
        if of.delta_bias is not None:
            grads[8] = of_bias.sum(dim=(0, 1))


class _Found(NamedTuple):
    """What the kernels of the gradient hand to each other, all in float32."""

    step: Tensor
    grad: Tensor
    sum: Tensor
    inflow: Tensor
    pull: Tensor
    maps: tuple[Tensor, Tensor]
    decay: Tensor


@torch.library.custom_op("audiomamba::selective_scan_triton_v2", mutates_args=())
def _scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    A_b: Tensor | None,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    softplus: bool,
    reverse: bool,
    want_last_state: bool,
) -> tuple[Tensor, Tensor]:
    tensors = _laid_out(u, delta, A, A_b, B, C, D, z, delta_bias, initial_state, lengths)
    scan = _Scan(tensors, softplus, reverse)
    _, last = _scan_fake(u, delta, A, want_last_state)
    config = scan.config("forward")
    if u.shape[1] <= config.chunk_tokens:
        first = tensors.initial_state
        entering = None if first is None else first.transpose(1, 2).contiguous()
        return scan.outputs(entering, config, last), last
    entering, sums = scan.chunk_ends(tensors.u, tensors.B, config, None, adjoint=False)
    scan.carry(entering, sums, tensors.initial_state, last, reverse=reverse)
    return scan.outputs(entering, config, last.new_empty(0)), last


@_scan.register_fake
def _scan_fake(u: Tensor, _delta: Tensor, A: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    want_last_state = rest[-1]
    last = (u.shape[0], *A.shape) if want_last_state else (0,)
    return u.new_empty(u.shape), u.new_empty(last, dtype=torch.float32)


@torch.library.custom_op("audiomamba::selective_scan_triton_backward_v2", mutates_args=())
def _scan_backward(
    grad_out: Tensor,
    grad_last_state: Tensor | None,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    A_b: Tensor | None,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    softplus: bool,
    reverse: bool,
) -> list[Tensor]:
    of = _laid_out(u, delta, A, A_b, B, C, D, z, delta_bias, initial_state, lengths)
    grad_out = _last_contiguous(grad_out)
    if grad_last_state is not None:
        grad_last_state = grad_last_state.contiguous()
    scan = _Scan(of, softplus, reverse)
    config = scan.config("backward")
    batch, tokens, channels, states, per_group = scan.sizes()
    grads = empty_gradients(*of[:-1])
    step, grad, inflow, pull = (grads[4].new_empty(u.shape) for _ in range(4))
    entering, sums = scan.chunk_ends(of.u, of.B, config, step, adjoint=False)
    scan.carry(entering, sums, of.initial_state, sums.new_empty(0), reverse=reverse)
    leaving, sums = scan.chunk_ends(grad_out, of.C, config, grad, adjoint=True)
    scan.carry(leaving, sums, grad_last_state, grads[9], reverse=not reverse)

    one_group = scan.options(config)["ONE_GROUP"]
    rows = (scan.blocks(config), batch, tokens) if one_group else (batch, tokens, channels)
    maps = (step.new_empty((*rows, states)), step.new_empty((*rows, states)))
    total = step.new_empty(u.shape if z is not None else 0)
    found = _Found(step, grad, total, inflow, pull, maps, torch.empty_like(entering))
    scan.gradients(found, entering, leaving, config)
    scan.finish(found, grad_out, grads)
    of_decay = found.decay.sum(dim=(1, 2)).transpose(1, 2)
    for index, of_A in zip((2, 3), of_decay, strict=False):
        grads[index] = of_A.clone(memory_format=torch.contiguous_format)
    grads[4:6] = (_over_channels(x, channels // per_group, one_group) for x in maps)
    return grads


@_scan_backward.register_fake
def _scan_backward_fake(
    _grad_out: Tensor, _grad_last_state: Tensor | None, *inputs: Any
) -> list[Tensor]:
    return empty_gradients(*inputs[:10])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    del output
    *tensors, softplus, reverse, want_last_state = inputs
    ctx.save_for_backward(*tensors)
    ctx.flags = (softplus, reverse)
    ctx.want_last_state = want_last_state


def _backward(ctx: Any, grad_out: Tensor, grad_last_state: Tensor) -> tuple[Tensor | None, ...]:
    tensors = ctx.saved_tensors
    of_state = grad_last_state if ctx.want_last_state else None
    grads = _scan_backward(grad_out, of_state, *tensors, *ctx.flags)
    pairs = zip(grads, tensors[:-1], strict=True)
    given = (None if x is None else grad.to(x.dtype) for grad, x in pairs)
    return (*given, *[None] * 4)  # lengths and the three flags


_scan.register_autograd(_backward, setup_context=_setup_context)


def _over_channels(shares: Tensor, groups: int, one_group: bool) -> Tensor:
    """Sum what the programs found for B or C: (batch, tokens, groups, states)."""
    # (batch, tokens, channels, states), or with one group in a block
    # (blocks of channels, batch, tokens, states).
    axis = 0 if one_group else 2
    summed: Tensor = shares.unflatten(axis, (groups, -1)).sum(dim=axis + 1)
    return summed.movedim(axis, 2).contiguous()


def _laid_out(*tensors: Tensor | None) -> _Tensors:
    """Copy what the kernels cannot read as it is."""
    return _Tensors(*(None if x is None else _last_contiguous(x) for x in tensors))  # type: ignore[arg-type]


def _last_contiguous(x: Tensor) -> Tensor:
    """The tensor itself if its last axis is contiguous and it is no vector or matrix with gaps."""
    if x.ndim < 3 or x.dtype == torch.int64:
        return x.contiguous()
    return x if x.stride(-1) == 1 else x.contiguous()


def _strided(x: Tensor | None, n_strides: int) -> tuple[Any, ...]:
    """A tensor and its first strides, in elements."""
    return (x, *([0] * n_strides if x is None else x.stride()[:n_strides]))
