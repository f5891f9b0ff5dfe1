"""The Mamba block that AuM, Vision Mamba and ConvAuM are stacks of.

A block is a norm and a mixer; the mixer is a gated selective scan over the token sequence, in one
of three forms:

    fo-fo   forward only
    fo-bi   one forward convolution, then the scan in both directions, the outputs added
    bi-bi   a second branch for the reverse direction with its own convolution, projections and scan

Letters in the parameters as in the Mamba paper: A decay, D skip, dt step size, `_b` the reverse
direction.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.config import check
from audiomamba.ops import (
    Linear,
    add_rms_norm,
    bidirectional_selective_scan,
    causal_conv1d,
    linear,
    selective_scan,
)
from audiomamba.ops.mamba_inner import (
    InnerWeights,
    can_recompute,
    channel_slices,
    mamba_inner,
    project_normed,
)

__all__ = [
    "Direction",
    "MambaBlock",
    "MambaMixer",
    "Norm",
    "SSMConfig",
    "add_and_norm",
    "draw_step_sizes",
    "log_of_states",
    "new_norm",
    "runs_plainly",
]

Direction = Literal["fo-fo", "fo-bi", "bi-bi"]
Norm = Literal["rms", "layer"]

# A long sequence is read so many tokens at a time where no gradient is needed. The six expanded
# activations of a stretch take 150 MB in AuM-B, whatever the length. Shorter ones are no faster.
STRETCH_TOKENS = 4096
# From how many tokens on. What can be done in slices of the channels takes 1.7 times as long in
# stretches, and up to here not much more memory: in AuM-B 0.8 GB beside 0.7.
LONG_TOKENS = 2 * STRETCH_TOKENS
LONG_TOKENS_IN_SLICES = 8 * STRETCH_TOKENS
DELTA_MIN = 0.001
DELTA_MAX = 0.1
DELTA_FLOOR = 1e-4
NORM_EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class SSMConfig:
    """The inner sizes of a mixer.

    Args:
        d_state: states per channel.
        d_conv: width of the causal convolution, in tokens.
        expand: channels of the mixer per channel of the model.
        dt_rank: rank of the step-size projection; None for dim / 16, rounded up.
        halve_sum: bi-bi only: halve the sum of the two directions, as the released models do.

    Raises:
        ConfigError: a field has a value that its type does not allow.
    """

    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    dt_rank: int | None = None
    halve_sum: bool = True

    def __post_init__(self) -> None:
        check(self)


class _Way(NamedTuple):
    """The weights of a scan in one direction, and whether it and its convolution run backward."""

    conv: nn.Conv1d
    x_proj: nn.Linear
    dt_proj: nn.Linear
    A_log: Tensor
    D: Tensor
    reverse_conv: bool
    reverse: bool

    def inner_weights(self) -> InnerWeights:
        """The weights of this direction alone, without those of the last projection."""
        return InnerWeights(
            conv=self.conv.weight[:, 0].float(),
            conv_bias=None if self.conv.bias is None else self.conv.bias.float(),
            x_proj=self.x_proj.weight,
            dt_proj=self.dt_proj.weight,
            dt_bias=self.dt_proj.bias.float(),
            A=-torch.exp(self.A_log).float(),
            A_b=None,
            D=self.D.float(),
            out_proj=None,
        )


class Normed(NamedTuple):
    """What an RMS norm was taken of, (batch, tokens, dim), and the norm's weight, (dim,)."""

    total: Tensor
    weight: Tensor


class MambaMixer(nn.Module):
    """A gated selective scan over a token sequence.

    Args:
        dim: channels of the model.
        direction: which of the three forms.
        ssm: inner sizes.
        reverse: fo-fo only: read the sequence from its end.

    Source: Gu and Dao 2023, section 3.4; Erol et al. 2024, section II-B, for the three forms.
    """

    def __init__(
        self, dim: int, direction: Direction, ssm: SSMConfig, *, reverse: bool = False
    ) -> None:
        super().__init__()
        self.direction = direction
        self.reverse = reverse
        self.ssm = ssm
        self.d_inner = ssm.expand * dim
        self.dt_rank = ssm.dt_rank or math.ceil(dim / 16)
        n_projected = self.dt_rank + 2 * ssm.d_state
        self.A_log = nn.Parameter(self._initial_a_log())
        self.D = nn.Parameter(torch.ones(self.d_inner))
        self.in_proj = Linear(dim, 2 * self.d_inner, bias=False)
        self.conv1d = self._new_conv()
        self.x_proj = Linear(self.d_inner, n_projected, bias=False)
        self.dt_proj = self._new_dt_proj()
        self.out_proj = Linear(self.d_inner, dim, bias=False)
        if direction != "fo-fo":
            self.A_b_log = nn.Parameter(self._initial_a_log())
        if direction == "bi-bi":
            self.D_b = nn.Parameter(torch.ones(self.d_inner))
            self.conv1d_b = self._new_conv()
            self.x_proj_b = Linear(self.d_inner, n_projected, bias=False)
            self.dt_proj_b = self._new_dt_proj()

    def _initial_a_log(self) -> Tensor:
        return log_of_states(torch.empty(self.d_inner, self.ssm.d_state))

    def _new_conv(self) -> nn.Conv1d:
        """The weights of the causal convolution; the op itself is ops.causal_conv1d."""
        return nn.Conv1d(self.d_inner, self.d_inner, self.ssm.d_conv, groups=self.d_inner)

    def _new_dt_proj(self) -> nn.Linear:
        """A projection whose bias makes step sizes log-uniform from DELTA_MIN to DELTA_MAX."""
        dt_proj = Linear(self.dt_rank, self.d_inner)
        nn.init.uniform_(dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        draw_step_sizes(dt_proj.bias)
        return dt_proj

    def forward(
        self, hidden: Tensor, lengths: Tensor | None = None, *, normed: Normed | None = None
    ) -> Tensor:
        """Mix the tokens.

        Args:
            hidden: (batch, tokens, dim).
            lengths: (batch,) tokens of each clip, its own ones first; None for all.
            normed: what hidden is the norm of; then it may be computed again, and is not kept.

        Returns:
            (batch, tokens, dim), 0 behind a clip's own tokens.
        """
        if runs_plainly():
            in_slices = hidden.is_cpu and self._can_be_cut()
            if hidden.shape[1] > (LONG_TOKENS_IN_SLICES if in_slices else LONG_TOKENS):
                return self._in_stretches(hidden, lengths)
            if in_slices:
                return self._in_slices(hidden, lengths)
        if can_recompute(hidden, self.d_inner) and self._is_as_made():
            return self._recomputed(hidden, normed, lengths)
        x, z = self.in_proj(hidden).chunk(2, dim=-1)
        out: Tensor = self.out_proj(self._scan(x, z, lengths))
        return out

    def _can_be_cut(self) -> bool:
        """Whether channels share one convolution, and in_proj is as it was made and not watched."""
        return self.direction != "bi-bi" and _is_plain(self.in_proj)

    def _is_as_made(self) -> bool:
        """Whether all linear layers are as they were made and not watched."""
        pairs = [(self.in_proj, self.out_proj), *((it.x_proj, it.dt_proj) for it in self._ways())]
        return all(_is_plain(layer) for pair in pairs for layer in pair)

    def _recomputed(self, hidden: Tensor, normed: Normed | None, lengths: Tensor | None) -> Tensor:
        """Mix with less kept for the gradient."""
        if normed is None:
            xz = self.in_proj(hidden)
        else:
            xz = project_normed(hidden, *normed, self.in_proj.weight, eps=NORM_EPS)
        lengths = None if lengths is None else lengths.long()
        first, *others = self._ways()
        weights = first.inner_weights()
        if self.direction != "bi-bi":
            A_b = -torch.exp(others[0].A_log).float() if others else None
            weights = weights._replace(A_b=A_b, out_proj=self.out_proj.weight)
            return mamba_inner(
                xz, weights, lengths, reverse_conv=first.reverse_conv, reverse=first.reverse
            )
        back = others[0].inner_weights()
        y = mamba_inner(xz, weights, lengths)
        y = y + mamba_inner(xz, back, lengths, reverse_conv=True, reverse=True)
        out: Tensor = self.out_proj(y * 0.5 if self.ssm.halve_sum else y)
        return out

    def _in_slices(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        """Mix with less memory: slice by slice of the channels, the result in the input's place."""
        way, *others = self._ways()
        slices = channel_slices(hidden, self.d_inner)
        for_x, for_z = self.in_proj.weight.chunk(2)
        if len(slices) == 1:  # one product is faster than two
            x, z = linear(hidden, self.in_proj.weight).chunk(2, dim=-1)
        else:
            x, z = linear(hidden, for_x), None
        u, dt, b, c = self._mapped(x, way, lengths)
        del x
        for part in slices:
            gate = linear(hidden, for_z[part]) if z is None else z
            given: dict[str, Any] = {
                "D": way.D[part],
                "z": gate,
                "delta_bias": way.dt_proj.bias[part],
                "delta_softplus": True,
                "lengths": lengths,
                "out": u[..., part],
            }
            delta, decay = linear(dt, way.dt_proj.weight[part]), -torch.exp(way.A_log[part])
            if others:
                reverse = -torch.exp(others[0].A_log[part])
                bidirectional_selective_scan(u[..., part], delta, decay, reverse, b, c, **given)
            else:
                selective_scan(u[..., part], delta, decay, b, c, reverse=way.reverse, **given)
        out: Tensor = self.out_proj(u)
        return out

    def _in_stretches(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        """Mix a long sequence stretch by stretch, once per direction, the scan's state carried."""
        mixed = torch.zeros_like(hidden)
        starts = range(0, hidden.shape[1], STRETCH_TOKENS)
        for way in self._ways():
            state: Tensor | None = None
            for start in reversed(starts) if way.reverse else starts:
                y, state = self._stretch(hidden, start, way, state, lengths)
                mixed[:, start : start + STRETCH_TOKENS] += self.out_proj(y)
        halved = self.direction == "bi-bi" and self.ssm.halve_sum
        return mixed.mul_(0.5) if halved else mixed

    def _stretch(
        self, hidden: Tensor, start: int, way: _Way, state: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Scan the stretch from one token on; gives its outputs and the state behind it."""
        end = min(start + STRETCH_TOKENS, hidden.shape[1])
        around = self.ssm.d_conv - 1  # tokens beside the stretch that its convolution sees
        first = start if way.reverse_conv else max(0, start - around)
        last = min(end + around, hidden.shape[1]) if way.reverse_conv else end
        x, z = self.in_proj(hidden[:, first:last]).chunk(2, dim=-1)
        inputs = self._inputs(x, way, _within(lengths, first, last))
        u, delta, b, c, z = (part[:, start - first : end - first] for part in (*inputs, z))
        return selective_scan(
            u,
            delta,
            -torch.exp(way.A_log),
            b,
            c,
            D=way.D,
            z=z,
            delta_bias=way.dt_proj.bias,
            delta_softplus=True,
            reverse=way.reverse,
            initial_state=state,
            return_last_state=True,
            lengths=_within(lengths, start, end),
        )

    def _scan(self, x: Tensor, z: Tensor, lengths: Tensor | None) -> Tensor:
        first, *others = self._ways()
        if self.direction == "fo-bi":
            u, delta, b, c = self._inputs(x, first, lengths)
            return bidirectional_selective_scan(
                u,
                delta,
                -torch.exp(self.A_log),
                -torch.exp(self.A_b_log),
                b,
                c,
                D=self.D,
                z=z,
                delta_bias=self.dt_proj.bias,
                delta_softplus=True,
                lengths=lengths,
            )
        y = self._scan_one_way(x, z, first, lengths)
        for way in others:
            y = y + self._scan_one_way(x, z, way, lengths)
        return y * 0.5 if others and self.ssm.halve_sum else y

    def _ways(self) -> list[_Way]:
        """The directions in which the sequence is scanned, one or two."""
        first = _Way(
            self.conv1d, self.x_proj, self.dt_proj, self.A_log, self.D, self.reverse, self.reverse
        )
        if self.direction == "fo-fo":
            return [first]
        if self.direction == "fo-bi":
            return [first, first._replace(A_log=self.A_b_log, reverse=True)]
        return [
            first,
            _Way(self.conv1d_b, self.x_proj_b, self.dt_proj_b, self.A_b_log, self.D_b, True, True),
        ]

    def _scan_one_way(self, x: Tensor, z: Tensor, way: _Way, lengths: Tensor | None) -> Tensor:
        u, delta, b, c = self._inputs(x, way, lengths)
        return selective_scan(
            u,
            delta,
            -torch.exp(way.A_log),
            b,
            c,
            D=way.D,
            z=z,
            delta_bias=way.dt_proj.bias,
            delta_softplus=True,
            reverse=way.reverse,
            lengths=lengths,
        )

    def _inputs(
        self, x: Tensor, way: _Way, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The convolved input u, delta (without its bias, which the scan adds), B and C."""
        u, dt, b, c = self._mapped(x, way, lengths)
        return u, linear(dt, way.dt_proj.weight), b, c

    def _mapped(
        self, x: Tensor, way: _Way, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The convolved input u, the low-rank form of delta, B and C."""
        conv = way.conv
        u = causal_conv1d(
            x,
            conv.weight[:, 0],
            conv.bias,
            activation="silu",
            reverse=way.reverse_conv,
            lengths=lengths,
        )
        sizes = [self.dt_rank, self.ssm.d_state, self.ssm.d_state]
        dt, b, c = way.x_proj(u).split(sizes, dim=-1)
        return u, dt, b, c


# Both compute on the CPU whatever the device, as on the meta device, where models are made to be
# loaded, PyTorch would import its compiler for it, which takes a second.


def log_of_states(A_log: Tensor) -> Tensor:
    """Fill (..., states) with the logarithms of 1 to the number of states, the initial decays."""
    states = torch.arange(1, A_log.shape[-1] + 1, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        return A_log.copy_(states.log())


def draw_step_sizes(bias: Tensor) -> None:
    """Draw biases, of any shape, whose softplus is log-uniform from DELTA_MIN to DELTA_MAX."""
    log_delta = torch.empty(bias.shape, device="cpu")
    log_delta.uniform_(math.log(DELTA_MIN), math.log(DELTA_MAX))
    delta = log_delta.exp().clamp_min(DELTA_FLOOR)
    with torch.no_grad():
        bias.copy_(delta + torch.log(-torch.expm1(-delta)))


def runs_plainly() -> bool:
    """Whether nothing keeps what is computed on the way: no gradient and no compiler."""
    return not (torch.is_grad_enabled() or torch.compiler.is_compiling())


def _is_plain(layer: nn.Module) -> bool:
    """Whether a layer does nothing but multiply, and nobody watches."""
    watched = layer._forward_hooks or layer._forward_pre_hooks
    return type(layer) is Linear and not watched


def _within(lengths: Tensor | None, first: int, last: int) -> Tensor | None:
    """How many of the tokens from first to last each clip has."""
    return None if lengths is None else (lengths - first).clamp(0, last - first)


class MambaBlock(nn.Module):
    """A pre-norm residual block whose addition is done by the next block's norm.

    Args:
        dim: channels of the model.
        direction: which form of the mixer.
        ssm: inner sizes of the mixer.
        depth: blocks in the whole stack; scales the initial output projection.
        drop_path: probability of dropping the incoming branch of a sample, in training.
        norm: kind of norm.
        reverse: fo-fo only: read the sequence from its end.
    """

    def __init__(
        self,
        dim: int,
        direction: Direction,
        ssm: SSMConfig,
        *,
        depth: int,
        drop_path: float,
        norm: Norm = "rms",
        reverse: bool = False,
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm = new_norm(norm, dim)
        self.mixer = MambaMixer(dim, direction, ssm, reverse=reverse)
        with torch.no_grad():
            self.mixer.out_proj.weight.div_(math.sqrt(depth))

    def forward(
        self, hidden: Tensor, residual: Tensor | None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Add the branch so far to the residual, norm it and mix it.

        Args:
            hidden: (batch, tokens, dim), the last block's output.
            residual: (batch, tokens, dim), float32; None before the first block.
            lengths: (batch,) tokens of each clip, its own ones first; None for all.

        Returns:
            The mixer's output and the new residual, both (batch, tokens, dim).
        """
        normed, residual = add_and_norm(
            hidden, residual, self.norm, self.drop_path if self.training else 0.0
        )
        of = Normed(residual, self.norm.weight) if isinstance(self.norm, nn.RMSNorm) else None
        return self.mixer(normed, lengths, normed=of), residual


def new_norm(kind: Norm, dim: int) -> nn.RMSNorm | nn.LayerNorm:
    """The norm between two blocks and behind the last."""
    return nn.RMSNorm(dim, eps=NORM_EPS) if kind == "rms" else nn.LayerNorm(dim, eps=NORM_EPS)


def add_and_norm(
    hidden: Tensor, residual: Tensor | None, norm: nn.RMSNorm | nn.LayerNorm, drop_path: float
) -> tuple[Tensor, Tensor]:
    """Drop whole samples of a branch, add it to the residual, and norm the sum.

    Args:
        hidden: (batch, tokens, dim), the branch.
        residual: (batch, tokens, dim), float32; None for zeros.
        norm: the norm.
        drop_path: probability of dropping the branch of a sample; 0 outside training.

    Returns:
        The normed sum in hidden's dtype, and the sum in float32.
    """
    if drop_path > 0:
        keep = torch.rand(hidden.shape[0], 1, 1, device=hidden.device) >= drop_path
        hidden = hidden * (keep / (1 - drop_path)).to(hidden.dtype)
    if isinstance(norm, nn.RMSNorm):
        return add_rms_norm(hidden, residual, norm.weight, eps=NORM_EPS)
    wide = torch.promote_types(hidden.dtype, torch.float32)
    residual = hidden.to(wide) if residual is None else residual + hidden
    normed = F.layer_norm(
        residual, norm.normalized_shape, norm.weight.to(wide), norm.bias.to(wide), norm.eps
    )
    return normed.to(hidden.dtype), residual
