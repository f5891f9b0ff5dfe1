"""The Mamba block that AuM, Vision Mamba and ConvAuM are stacks of: a norm and a mixer.

Letters in the parameters as in the Mamba paper: A decay, D skip, dt step size, `_b` the reverse
direction.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from audiomamba.config import check
from audiomamba.models.layers.drop_path import drop_path
from audiomamba.models.layers.ssm_init import draw_step_sizes, log_of_states
from audiomamba.ops import Linear
from audiomamba.ops.add_norm import NORM_EPS, Norm, add_norm, new_norm
from audiomamba.ops.mamba import DirectionWeights, MixerWeights, Normed, mix

__all__ = ["UNDECAYED", "Direction", "MambaBlock", "SSMConfig"]

Direction = Literal["fo-fo", "fo-bi", "bi-bi"]

UNDECAYED = frozenset({"A_log", "A_b_log", "D", "D_b"})  # weights that weight decay would harm


@dataclass(frozen=True, kw_only=True)
class SSMConfig:
    """The inner sizes of a mixer.

    Args:
        d_state: states per channel.
        d_conv: width of the causal convolution, in tokens.
        expand: channels of the mixer per channel of the model.
        dt_rank: rank of the step-size projection; None for dim / 16, rounded up.
        halve_sum: bi-bi only: halve the sum of the two directions, as the released models do.

    Examples:
        >>> SSMConfig(d_state=8, expand=1)
        SSMConfig(d_state=8, d_conv=4, expand=1, dt_rank=None, halve_sum=True)
    """

    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    dt_rank: int | None = None
    halve_sum: bool = True

    def __post_init__(self) -> None:
        check(self)


class MambaMixer(nn.Module):
    """A gated selective scan over a token sequence.

        x, z = in_proj(hidden)
        u = silu(conv1d(x))
        dt, B, C = x_proj(u)
        y = selective_scan(u, delta=softplus(dt_proj(dt)), A=-exp(A_log), B, C, D)
        out = out_proj(y * silu(z))

    This is the form fo-fo, forward only. In fo-bi y is the sum of two scans, the second in reverse
    with A_b_log. In bi-bi all but in_proj and out_proj exists once more for the reverse direction,
    and y is the sum or the mean of both. The arguments are those of MambaBlock.

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
        self.A_log = nn.Parameter(log_of_states(torch.empty(self.d_inner, ssm.d_state)))
        self.D = nn.Parameter(torch.ones(self.d_inner))
        self.in_proj = Linear(dim, 2 * self.d_inner, bias=False)
        # Of the convolutions the weights alone are used: ops.causal_conv1d does the work.
        self.conv1d = nn.Conv1d(self.d_inner, self.d_inner, ssm.d_conv, groups=self.d_inner)
        self.x_proj = Linear(self.d_inner, n_projected, bias=False)
        self.dt_proj = self._new_dt_proj()
        self.out_proj = Linear(self.d_inner, dim, bias=False)
        if direction != "fo-fo":
            self.A_b_log = nn.Parameter(log_of_states(torch.empty(self.d_inner, ssm.d_state)))
        if direction == "bi-bi":
            self.D_b = nn.Parameter(torch.ones(self.d_inner))
            self.conv1d_b = nn.Conv1d(self.d_inner, self.d_inner, ssm.d_conv, groups=self.d_inner)
            self.x_proj_b = Linear(self.d_inner, n_projected, bias=False)
            self.dt_proj_b = self._new_dt_proj()

    def _new_dt_proj(self) -> nn.Linear:
        dt_proj = Linear(self.dt_rank, self.d_inner)
        nn.init.uniform_(dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        draw_step_sizes(dt_proj.bias)
        return dt_proj

    def forward(
        self, hidden: Tensor, lengths: Tensor | None = None, *, normed: Normed | None = None
    ) -> Tensor:
        """Mix the tokens (batch, tokens, dim); arguments and result are those of ops.mamba.mix."""
        return mix(hidden, self._weights(), lengths=lengths, normed=normed)

    def _weights(self) -> MixerWeights:
        """The weights, with those of the directions in which the sequence is scanned."""
        first = DirectionWeights(
            self.conv1d, self.x_proj, self.dt_proj, self.A_log, self.D, self.reverse, self.reverse
        )
        directions = [first]
        if self.direction == "fo-bi":
            directions.append(first._replace(A_log=self.A_b_log, reverse=True))
        elif self.direction == "bi-bi":
            layers = (self.conv1d_b, self.x_proj_b, self.dt_proj_b)
            directions.append(DirectionWeights(*layers, self.A_b_log, self.D_b, True, True))
        halve_sum = self.direction == "bi-bi" and self.ssm.halve_sum
        return MixerWeights(self.in_proj, self.out_proj, tuple(directions), halve_sum)


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
        projection = self.mixer.out_proj.weight
        if not projection.is_meta:  # a division there would load PyTorch's symbolic algebra
            projection.data.div_(math.sqrt(depth))

    def forward(
        self, hidden: Tensor, residual: Tensor | None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Add the last block's output to the residual, norm the sum and mix it.

        Both are (batch, tokens, dim), the residual in float32, None before the first block; lengths
        (batch,) are the tokens of each clip. Returned are the mixer's output and the new residual.
        """
        norm, branch = self.norm, drop_path(hidden, self.drop_path if self.training else 0.0)
        normed, residual = add_norm(branch, residual, norm)
        of = Normed(residual, norm.weight, NORM_EPS) if isinstance(norm, nn.RMSNorm) else None
        return self.mixer(normed, lengths, normed=of), residual
