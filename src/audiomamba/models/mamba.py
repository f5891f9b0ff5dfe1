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
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.models.base import check_fields
from audiomamba.ops import (
    add_rms_norm,
    bidirectional_selective_scan,
    causal_conv1d,
    selective_scan,
)

__all__ = [
    "Direction",
    "MambaBlock",
    "MambaMixer",
    "Norm",
    "SSMConfig",
    "add_and_norm",
    "new_norm",
]

Direction = Literal["fo-fo", "fo-bi", "bi-bi"]
Norm = Literal["rms", "layer"]

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
        check_fields(self)


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
        self.in_proj = nn.Linear(dim, 2 * self.d_inner, bias=False)
        self.conv1d = self._new_conv()
        self.x_proj = nn.Linear(self.d_inner, n_projected, bias=False)
        self.dt_proj = self._new_dt_proj()
        self.out_proj = nn.Linear(self.d_inner, dim, bias=False)
        if direction != "fo-fo":
            self.A_b_log = nn.Parameter(self._initial_a_log())
        if direction == "bi-bi":
            self.D_b = nn.Parameter(torch.ones(self.d_inner))
            self.conv1d_b = self._new_conv()
            self.x_proj_b = nn.Linear(self.d_inner, n_projected, bias=False)
            self.dt_proj_b = self._new_dt_proj()

    def _initial_a_log(self) -> Tensor:
        states = torch.arange(1, self.ssm.d_state + 1, dtype=torch.float32)
        return states.log().repeat(self.d_inner, 1)

    def _new_conv(self) -> nn.Conv1d:
        """The weights of the causal convolution; the op itself is ops.causal_conv1d."""
        return nn.Conv1d(self.d_inner, self.d_inner, self.ssm.d_conv, groups=self.d_inner)

    def _new_dt_proj(self) -> nn.Linear:
        """A projection whose bias makes step sizes log-uniform from DELTA_MIN to DELTA_MAX."""
        dt_proj = nn.Linear(self.dt_rank, self.d_inner)
        nn.init.uniform_(dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        log_delta = torch.empty(self.d_inner).uniform_(math.log(DELTA_MIN), math.log(DELTA_MAX))
        delta = log_delta.exp().clamp_min(DELTA_FLOOR)
        with torch.no_grad():
            dt_proj.bias.copy_(delta + torch.log(-torch.expm1(-delta)))
        return dt_proj

    def forward(self, hidden: Tensor) -> Tensor:
        """Mix the tokens.

        Args:
            hidden: (batch, tokens, dim).

        Returns:
            (batch, tokens, dim).
        """
        x, z = self.in_proj(hidden).chunk(2, dim=-1)
        out: Tensor = self.out_proj(self._scan(x, z))
        return out

    def _scan(self, x: Tensor, z: Tensor) -> Tensor:
        a = -torch.exp(self.A_log)
        conv, bias, reverse = self.conv1d, self.dt_proj.bias, self.reverse
        u = causal_conv1d(x, conv.weight[:, 0], conv.bias, activation="silu", reverse=reverse)
        delta, b, c = self._project(u, self.x_proj, self.dt_proj)
        if self.direction == "fo-bi":
            a_b = -torch.exp(self.A_b_log)
            return bidirectional_selective_scan(
                u, delta, a, a_b, b, c, D=self.D, z=z, delta_bias=bias, delta_softplus=True
            )
        y = selective_scan(
            u,
            delta,
            a,
            b,
            c,
            D=self.D,
            z=z,
            delta_bias=bias,
            delta_softplus=True,
            reverse=reverse,
        )
        if self.direction == "fo-fo":
            return y
        y = y + self._reverse_branch(x, z)
        return y * 0.5 if self.ssm.halve_sum else y

    def _reverse_branch(self, x: Tensor, z: Tensor) -> Tensor:
        conv = self.conv1d_b
        u = causal_conv1d(x, conv.weight[:, 0], conv.bias, activation="silu", reverse=True)
        delta, b, c = self._project(u, self.x_proj_b, self.dt_proj_b)
        return selective_scan(
            u,
            delta,
            -torch.exp(self.A_b_log),
            b,
            c,
            D=self.D_b,
            z=z,
            delta_bias=self.dt_proj_b.bias,
            delta_softplus=True,
            reverse=True,
        )

    def _project(
        self, u: Tensor, x_proj: nn.Linear, dt_proj: nn.Linear
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Delta (without its bias, which the scan adds), B and C from the convolved input."""
        sizes = [self.dt_rank, self.ssm.d_state, self.ssm.d_state]
        dt, b, c = x_proj(u).split(sizes, dim=-1)
        return F.linear(dt, dt_proj.weight), b, c


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

    def forward(self, hidden: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """Add the branch so far to the residual, norm it and mix it.

        Args:
            hidden: (batch, tokens, dim), the last block's output.
            residual: (batch, tokens, dim), float32; None before the first block.

        Returns:
            The mixer's output and the new residual, both (batch, tokens, dim).
        """
        normed, residual = add_and_norm(
            hidden, residual, self.norm, self.drop_path if self.training else 0.0
        )
        return self.mixer(normed), residual


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
