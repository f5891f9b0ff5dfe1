"""The selective scan on GPUs, as PyTorch operators with explicit gradients: the backend "triton".

The kernels are in triton_kernels. The forward pass keeps nothing for the backward pass, which finds
the states again. All sums are made in a fixed order, so the gradients are the same every time.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from audiomamba.ops.selective_scan import triton_kernels as kernels
from audiomamba.ops.selective_scan.inputs import ScanInputs

__all__ = ["bidirectional_scan", "scan"]

LOG2_E = 1.4426950408889634
BLOCK = 32  # channels of a program of one warp: a thread has all states of a channel
UNROLL = 4  # tokens whose loads are under way together
CHUNK_TOKENS = 128  # of a forward scan that is cut
GRADIENT_BLOCK, GRADIENT_CHUNK, GRADIENT_WARPS = 32, 8, 8
# With fewer programs than this, sequences are cut into chunks that are scanned side by side.
BUSY_PROGRAMS_PER_PROCESSOR = 4


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

    def grid(self, block: int, *others: int) -> tuple[int, ...]:
        return (-(-self.of.u.shape[2] // block), *others)

    def options(self, block: int) -> dict[str, Any]:
        """What the kernels are specialized for."""
        *_, channels, states, per_group = self.sizes()
        return {
            "HAS_Z": self.of.z is not None,
            "HAS_BIAS": self.of.delta_bias is not None,
            "SOFTPLUS": self.softplus,
            "HAS_LENGTHS": self.of.lengths is not None,
            "ONE_GROUP": per_group == channels or per_group % block == 0,
            "STATES": 1 << (states - 1).bit_length(),
            "BLOCK": block,
        }

    def forward_chunks(self) -> int:
        """In how many chunks to cut the sequences, so that the device has enough to do."""
        batch, tokens, channels, *_ = self.sizes()
        programs = batch * -(-channels // BLOCK)
        if programs >= BUSY_PROGRAMS_PER_PROCESSOR * _n_processors(self.of.u.device):
            return 1
        return -(-tokens // CHUNK_TOKENS)

    def chunk_ends(
        self, x: Tensor, maps: Tensor, n_chunks: int, chunk_tokens: int, *, adjoint: bool
    ) -> tuple[Tensor, Tensor]:
        """What each chunk makes of an empty state, and the sums of its steps."""
        batch, tokens, channels, states, per_group = self.sizes()
        ends = x.new_empty(
            (self.directions, batch, n_chunks, states, channels), dtype=torch.float32
        )
        sums = x.new_empty((batch, n_chunks, channels), dtype=torch.float32)
        kernels.chunk_ends[self.grid(BLOCK, n_chunks, batch * self.directions)](
            *_strided(x, 2), *_strided(self.of.delta, 2), *_strided(self.of.z, 2),
            *_strided(maps, 3),
            self.rate, self.of.delta_bias, self.of.lengths, ends, sums,
            batch, tokens, channels, states, per_group, n_chunks, chunk_tokens,
            ADJOINT=adjoint, REVERSE=self.reverse, UNROLL=UNROLL,
            **self.options(BLOCK), num_warps=1,
        )  # fmt: skip
        return ends, sums

    def carry(
        self, ends: Tensor, sums: Tensor, first: Tensor | None, last: Tensor, *, reverse: bool
    ) -> None:
        """Make of the ends the states that enter; fill `last` unless it is empty."""
        batch, _, channels, states, _ = self.sizes()
        kernels.carry[self.grid(BLOCK, batch, self.directions)](
            ends, sums, self.rate, first, last,
            batch, channels, states, ends.shape[2],
            REVERSE=reverse, HAS_FIRST=first is not None, WANT_LAST=last.numel() > 0,
            STATES=self.options(BLOCK)["STATES"], BLOCK=BLOCK, num_warps=1,
        )  # fmt: skip

    def outputs(
        self, entering: Tensor | None, n_chunks: int, chunk_tokens: int, last: Tensor
    ) -> Tensor:
        """Scan the chunks; fill `last` unless it is empty."""
        of, (batch, tokens, channels, states, per_group) = self.of, self.sizes()
        out = of.u.new_empty((batch, tokens, channels))
        half = None if self.directions == 1 else torch.empty_like(out, dtype=torch.float32)
        kernels.outputs[self.grid(BLOCK, n_chunks, batch)](
            *_strided(of.u, 2), *_strided(of.delta, 2), *_strided(of.z, 2),
            *_strided(of.B, 3), *_strided(of.C, 3),
            self.rate, of.D, of.delta_bias, of.lengths, entering, half, out, last,
            batch, tokens, channels, states, per_group, n_chunks, chunk_tokens,
            DIRECTIONS=self.directions, REVERSE=self.reverse,
            HAS_ENTERING=entering is not None, WANT_LAST=last.numel() > 0,
            HAS_D=of.D is not None, UNROLL=UNROLL, **self.options(BLOCK), num_warps=1,
        )  # fmt: skip
        return out


@torch.library.custom_op("audiomamba::selective_scan_triton_v1", mutates_args=())
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
    n_chunks = scan.forward_chunks()
    chunk_tokens = -(-u.shape[1] // n_chunks)
    if n_chunks == 1:
        first = tensors.initial_state
        entering = None if first is None else first.transpose(1, 2).contiguous()
        return scan.outputs(entering, 1, chunk_tokens, last), last
    entering, sums = scan.chunk_ends(tensors.u, tensors.B, n_chunks, chunk_tokens, adjoint=False)
    scan.carry(entering, sums, tensors.initial_state, last, reverse=reverse)
    return scan.outputs(entering, n_chunks, chunk_tokens, last.new_empty(0)), last


@_scan.register_fake
def _scan_fake(u: Tensor, _delta: Tensor, A: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    want_last_state = rest[-1]
    last = (u.shape[0], *A.shape) if want_last_state else (0,)
    return u.new_empty(u.shape), u.new_empty(last, dtype=torch.float32)


@torch.library.custom_op("audiomamba::selective_scan_triton_backward_v1", mutates_args=())
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
    batch, tokens, channels, states, per_group = scan.sizes()
    n_chunks = -(-tokens // GRADIENT_CHUNK)
    grads: list[Tensor] = _scan_backward_fake(grad_out, grad_last_state, *of)
    of_u, of_delta, _, _, _, _, _, of_z, _, of_state = grads
    entering, sums = scan.chunk_ends(of.u, of.B, n_chunks, GRADIENT_CHUNK, adjoint=False)
    scan.carry(entering, sums, of.initial_state, sums.new_empty(0), reverse=reverse)
    leaving, sums = scan.chunk_ends(grad_out, of.C, n_chunks, GRADIENT_CHUNK, adjoint=True)
    scan.carry(leaving, sums, grad_last_state, of_state, reverse=not reverse)

    options = scan.options(GRADIENT_BLOCK)
    grid = scan.grid(GRADIENT_BLOCK, n_chunks, batch)
    of_A, of_D, of_bias = (torch.empty_like(x) for x in (entering, sums, sums))
    rows = (grid[0], batch, tokens) if options["ONE_GROUP"] else (batch, tokens, channels)
    of_B, of_C = (sums.new_empty((scan.directions, *rows, states)) for _ in range(2))
    kernels.gradients[grid](
        *_strided(of.u, 2), *_strided(of.delta, 2), *_strided(of.z, 2),
        *_strided(of.B, 3), *_strided(of.C, 3), *_strided(grad_out, 2),
        scan.rate, of.D, of.delta_bias, of.lengths, entering, leaving,
        of_u, of_delta, of_z, of_B, of_C, of_A, of_D, of_bias,
        batch, tokens, channels, states, per_group, n_chunks,
        DIRECTIONS=scan.directions, REVERSE=reverse, HAS_D=D is not None, **options,
        CHUNK=GRADIENT_CHUNK, num_warps=GRADIENT_WARPS,
    )  # fmt: skip
    of_A = of_A.sum(dim=(1, 2)).transpose(1, 2)
    grads[2] = of_A[0].contiguous()
    grads[4:6] = (
        _over_channels(x, channels // per_group, options["ONE_GROUP"]) for x in (of_B, of_C)
    )
    if A_b is not None:
        grads[3] = of_A[1].contiguous()
    if D is not None:
        grads[6] = of_D.sum(dim=(0, 1))
    if delta_bias is not None:
        grads[8] = of_bias.sum(dim=(0, 1))
    return grads


@_scan_backward.register_fake
def _scan_backward_fake(
    _grad_out: Tensor,
    _grad_last_state: Tensor | None,
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
    *_: Any,
) -> list[Tensor]:
    def empty(x: Tensor | None) -> Tensor:
        return A.new_empty(0) if x is None else x.new_empty(x.shape)

    # The gradients of B and C are sums over channels and stay in float32 until they are complete.
    of_B, of_C = A.new_empty(B.shape), A.new_empty(C.shape)
    before = [empty(x) for x in (u, delta, A, A_b)]
    after = [empty(x) for x in (D, z, delta_bias, initial_state)]
    return [*before, of_B, of_C, *after]


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


def _over_channels(parts: Tensor, groups: int, one_group: bool) -> Tensor:
    """Sum what the programs found for B or C: (batch, tokens, groups, states)."""
    # (directions, batch, tokens, channels, states), or with one group in a block
    # (directions, blocks of channels, batch, tokens, states).
    axis = 0 if one_group else 2
    summed: Tensor = parts.sum(dim=0).unflatten(axis, (groups, -1)).sum(dim=axis + 1)
    return summed.movedim(axis, 2)


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


def _n_processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count
