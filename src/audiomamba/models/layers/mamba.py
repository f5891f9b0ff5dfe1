"""The Mamba block that AuM, Vision Mamba and ConvAuM are stacks of: a norm and a mixer.

Letters in the parameters as in the Mamba paper: A decay, D skip, dt step size, `_b` the reverse
direction.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.config import check
from audiomamba.models.layers.drop_path import drop_path
from audiomamba.models.layers.ssm_init import draw_step_sizes, log_of_states
from audiomamba.ops import Linear, add_rms_norm
from audiomamba.ops.mamba import DirectionWeights, MixerWeights, Normed, mix

__all__ = ["UNDECAYED", "Direction", "MambaBlock", "Norm", "SSMConfig", "add_and_norm", "new_norm"]

Direction = Literal["fo-fo", "fo-bi", "bi-bi"]
Norm = Literal["rms", "layer"]

NORM_EPS = 1e-5
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

    Raises:
        ConfigError: a field has a value that its type does not allow.

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
    and y is the sum or the mean of both.

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
        self.A_log = self._new_decay()
        self.D = nn.Parameter(torch.ones(self.d_inner))
        self.in_proj = Linear(dim, 2 * self.d_inner, bias=False)
        self.conv1d = self._new_conv()
        self.x_proj = Linear(self.d_inner, n_projected, bias=False)
        self.dt_proj = self._new_dt_proj()
        self.out_proj = Linear(self.d_inner, dim, bias=False)
        if direction != "fo-fo":
            self.A_b_log = self._new_decay()
        if direction == "bi-bi":
            self.D_b = nn.Parameter(torch.ones(self.d_inner))
            self.conv1d_b = self._new_conv()
            self.x_proj_b = Linear(self.d_inner, n_projected, bias=False)
            self.dt_proj_b = self._new_dt_proj()

    def _new_decay(self) -> nn.Parameter:
        return nn.Parameter(log_of_states(torch.empty(self.d_inner, self.ssm.d_state)))

    def _new_conv(self) -> nn.Conv1d:
        """The weights of the causal convolution; the op itself is ops.causal_conv1d."""
        return nn.Conv1d(self.d_inner, self.d_inner, self.ssm.d_conv, groups=self.d_inner)

    def _new_dt_proj(self) -> nn.Linear:
        dt_proj = Linear(self.dt_rank, self.d_inner)
        nn.init.uniform_(dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        draw_step_sizes(dt_proj.bias)
        return dt_proj

    def forward(
        self, hidden: Tensor, lengths: Tensor | None = None, *, normed: Normed | None = None
    ) -> Tensor:
        """Mix the tokens; (batch, tokens, dim) in and out, 0 after a clip's own tokens.

        Args:
            hidden: the tokens.
            lengths: (batch,) tokens of each clip, its own ones first; None for all.
            normed: what hidden is the norm of; then it may be computed again, and is not kept.
        """
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
        with torch.no_grad():
            self.mixer.out_proj.weight.div_(math.sqrt(depth))

    def forward(
        self, hidden: Tensor, residual: Tensor | None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Add the branch so far to the residual, norm the sum and mix it.

        Args:
            hidden: (batch, tokens, dim), the last block's output.
            residual: the same, float32; None before the first block.
            lengths: (batch,) tokens of each clip, its own ones first; None for all.

        Returns:
            The mixer's output and the new residual.
        """
        norm, drop_rate = self.norm, self.drop_path if self.training else 0.0
        normed, residual = add_and_norm(hidden, residual, norm, drop_rate)
        of = Normed(residual, norm.weight, NORM_EPS) if isinstance(norm, nn.RMSNorm) else None
        return self.mixer(normed, lengths, normed=of), residual


def new_norm(kind: Norm, dim: int) -> nn.RMSNorm | nn.LayerNorm:
    """The norm between two blocks and after the last."""
    return nn.RMSNorm(dim, eps=NORM_EPS) if kind == "rms" else nn.LayerNorm(dim, eps=NORM_EPS)


def add_and_norm(
    hidden: Tensor, residual: Tensor | None, norm: nn.RMSNorm | nn.LayerNorm, drop_rate: float
) -> tuple[Tensor, Tensor]:
    """Add a branch (batch, tokens, dim) to the residual, and norm the sum.

    Args:
        hidden: the branch.
        residual: float32; None for zeros.
        norm: the norm.
        drop_rate: probability of dropping the branch of a sample; 0 outside training.

    Returns:
        The normed sum in hidden's dtype, and the sum in float32.
    """
    hidden = drop_path(hidden, drop_rate)
    if isinstance(norm, nn.RMSNorm):
        return add_rms_norm(hidden, residual, norm.weight, eps=NORM_EPS)
    wide = torch.promote_types(hidden.dtype, torch.float32)
    residual = hidden.to(wide) if residual is None else residual + hidden
    weight, bias = norm.weight.to(wide), norm.bias.to(wide)
    return F.layer_norm(residual, weight.shape, weight, bias, norm.eps).to(hidden.dtype), residual
