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
from audiomamba.ops.selective_scan.inputs import SCAN_SCHEMA, Gradients, ScanInputs, written

__all__ = ["scan"]

FIRST_UNMIRRORED = (3, 7)  # release of Triton; see triton_kernels
LOG2_E = 1.4426950408889634
CARRY_BLOCK, CARRY_UNROLL = 32, 4
FINISH_TOKENS, FINISH_BLOCK, FINISH_TILES, FINISH_WARPS = 8, 128, 8, 4
# The states inside chunks live only while the chunks are worked on: so many bytes of them at once.
INNER_BYTES = 128 << 20


def scan(
    inputs: ScanInputs, *, want_last_state: bool, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scan; returns the outputs and the last state, which is empty unless wanted."""
    return written(_scan(*inputs, want_last_state), out)


@dataclass(frozen=True)
class _Scan:
    """One scan: its inputs, its sizes, and the launches of its kernels.

    The last axis of each tensor is contiguous.
    """

    of: ScanInputs

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
            ADJOINT=adjoint, KEEP=kept is not None, REVERSE=self.of.reverse,
            HAS_Z=self.of.z is not None, HAS_BIAS=self.of.delta_bias is not None,
            SOFTPLUS=self.of.softplus, **self.options(config),
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
            DIRECTIONS=self.directions, REVERSE=self.of.reverse,
            HAS_ENTERING=entering is not None, WANT_LAST=last.numel() > 0,
            HAS_Z=of.z is not None, HAS_D=of.D is not None, HAS_BIAS=of.delta_bias is not None,
            SOFTPLUS=self.of.softplus, **self.options(config),
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
                DIRECTIONS=self.directions, REVERSE=self.of.reverse, HAS_Z=of.z is not None,
                **options,
            )  # fmt: skip

    def finish(self, found: "_Found", grad_out: Tensor, grads: Gradients) -> tuple[Tensor, Tensor]:
        """Fill the gradients of u, delta and z; gives the shares of those of D and the bias."""
        of, (batch, tokens, channels, *_) = self.of, self.sizes()
        n_chunks = -(-tokens // (FINISH_TILES * FINISH_TOKENS))
        of_D, of_bias = (found.step.new_empty((batch, n_chunks, channels)) for _ in range(2))
        gradient_kernels.finish[(-(-channels // FINISH_BLOCK), n_chunks, batch)](
            *_strided(of.u, 2), *_strided(of.delta, 2), *_strided(of.z, 2), *_strided(grad_out, 2),
            found.step, found.grad, found.sum, found.inflow, found.pull,
            of.D, of.delta_bias, of.lengths, grads.u, grads.delta, grads.z, of_D, of_bias,
            tokens, channels, FINISH_TILES,
            DIRECTIONS=self.directions, HAS_Z=of.z is not None, HAS_D=of.D is not None,
            HAS_BIAS=of.delta_bias is not None, SOFTPLUS=self.of.softplus,
            HAS_LENGTHS=of.lengths is not None, TOKENS=FINISH_TOKENS, BLOCK=FINISH_BLOCK,
            num_warps=FINISH_WARPS,
        )  # fmt: skip
        return of_D, of_bias


class _Found(NamedTuple):
    """What the kernels of the gradient hand to each other, all in float32."""

    step: Tensor
    grad: Tensor
    sum: Tensor
    inflow: Tensor
    pull: Tensor
    maps: tuple[Tensor, Tensor]
    decay: Tensor


def _forward(*given: Any) -> tuple[Tensor, Tensor]:
    """Scan: the outputs and the last state."""
    inputs, _ = ScanInputs.split(given)
    scan = _Scan(_laid_out(inputs))
    _, last = _empty_results(*given)
    config = scan.config("forward")
    first = scan.of.initial_state
    if inputs.u.shape[1] <= config.chunk_tokens:
        entering = None if first is None else first.transpose(1, 2).contiguous()
        return scan.outputs(entering, config, last), last
    entering, sums = scan.chunk_ends(scan.of.u, scan.of.B, config, None, adjoint=False)
    scan.carry(entering, sums, first, last, reverse=inputs.reverse)
    return scan.outputs(entering, config, last.new_empty(0)), last


_scan = torch.library.custom_op(
    "audiomamba::selective_scan_triton_v2",
    _forward,
    mutates_args=(),
    schema=f"({SCAN_SCHEMA}, bool want_last_state) -> (Tensor, Tensor)",
)


@_scan.register_fake
def _empty_results(*given: Any) -> tuple[Tensor, Tensor]:
    (u, _, A, *_), (want_last_state,) = ScanInputs.split(given)
    last = (u.shape[0], *A.shape) if want_last_state else (0,)
    return u.new_empty(u.shape), u.new_empty(last, dtype=torch.float32)


def _gradients(grad_out: Tensor, grad_last_state: Tensor | None, *given: Any) -> list[Tensor]:
    """The gradients of a scan, in the order of `Gradients`."""
    of = _laid_out(ScanInputs(*given))
    grad_out = _last_contiguous(grad_out)
    if grad_last_state is not None:
        grad_last_state = grad_last_state.contiguous()
    scan = _Scan(of)
    config = scan.config("backward")
    batch, tokens, channels, states, per_group = scan.sizes()
    grads = Gradients.empty(of)
    step, grad, inflow, pull = (grads.B.new_empty(of.u.shape) for _ in range(4))
    entering, sums = scan.chunk_ends(of.u, of.B, config, step, adjoint=False)
    scan.carry(entering, sums, of.initial_state, sums.new_empty(0), reverse=of.reverse)
    leaving, sums = scan.chunk_ends(grad_out, of.C, config, grad, adjoint=True)
    scan.carry(leaving, sums, grad_last_state, grads.initial_state, reverse=not of.reverse)

    one_group = scan.options(config)["ONE_GROUP"]
    rows = (scan.blocks(config), batch, tokens) if one_group else (batch, tokens, channels)
    maps = (step.new_empty((*rows, states)), step.new_empty((*rows, states)))
    total = step.new_empty(of.u.shape if of.z is not None else 0)
    found = _Found(step, grad, total, inflow, pull, maps, torch.empty_like(entering))
    scan.gradients(found, entering, leaving, config)
    of_D, of_bias = scan.finish(found, grad_out, grads)
    of_decay = found.decay.sum(dim=(1, 2)).transpose(1, 2)
    of_A, *of_A_b = (x.clone(memory_format=torch.contiguous_format) for x in of_decay)
    of_B, of_C = (_over_channels(x, channels // per_group, one_group) for x in maps)
    return list(
        grads._replace(
            A=of_A,
            A_b=of_A_b[0] if of_A_b else grads.A_b,
            B=of_B,
            C=of_C,
            D=grads.D if of.D is None else of_D.sum(dim=(0, 1)),
            delta_bias=grads.delta_bias if of.delta_bias is None else of_bias.sum(dim=(0, 1)),
        )
    )


_scan_backward = torch.library.custom_op(
    "audiomamba::selective_scan_triton_backward_v2",
    _gradients,
    mutates_args=(),
    schema=f"(Tensor grad_out, Tensor? grad_last_state, {SCAN_SCHEMA}) -> Tensor[]",
)


@_scan_backward.register_fake
def _empty_gradients(
    _grad_out: Tensor, _grad_last_state: Tensor | None, *given: Any
) -> list[Tensor]:
    return list(Gradients.empty(ScanInputs(*given)))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
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


_scan.register_autograd(_backward, setup_context=_keep)


def _over_channels(shares: Tensor, groups: int, one_group: bool) -> Tensor:
    """Sum what the programs found for B or C: (batch, tokens, groups, states)."""
    # (batch, tokens, channels, states), or with one group in a block
    # (blocks of channels, batch, tokens, states).
    axis = 0 if one_group else 2
    summed: Tensor = shares.unflatten(axis, (groups, -1)).sum(dim=axis + 1)
    return summed.movedim(axis, 2).contiguous()


def _laid_out(inputs: ScanInputs) -> ScanInputs:
    """Copy what the kernels cannot read as it is."""
    given: dict[str, Any] = inputs._asdict()
    tensors = {name: x for name, x in given.items() if isinstance(x, Tensor)}
    return ScanInputs(**(given | {name: _last_contiguous(x) for name, x in tensors.items()}))


def _last_contiguous(x: Tensor) -> Tensor:
    """The tensor itself if its last axis is contiguous and it is no vector or matrix with gaps."""
    if x.ndim < 3 or x.dtype == torch.int64:
        return x.contiguous()
    return x if x.stride(-1) == 1 else x.contiguous()


def _strided(x: Tensor | None, n_strides: int) -> tuple[Any, ...]:
    """A tensor and its first strides, in elements."""
    return (x, *([0] * n_strides if x is None else x.stride()[:n_strides]))
