"""SS2D, VMamba's mixer: a selective scan of a map in four directions.

Letters in the parameters as in the Mamba paper: A decay, D skip, dt step size; one set per
direction, in the order of ops.cross_scan.

Source: Liu et al., "VMamba: Visual State Space Model" (2024), section 4.2.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.config import check
from audiomamba.errors import ConfigError
from audiomamba.models.layers.ssm_init import draw_step_sizes, log_of_states
from audiomamba.ops import Linear, cross_selective_scan, linear
from audiomamba.ops.cross_scan import N_DIRECTIONS
from audiomamba.ops.padding import mask_padding

__all__ = ["SS2D", "Activation", "SS2DConfig", "activate", "dense_conv", "new_linear"]

Activation = Literal["silu", "gelu", "relu", "sigmoid"]


@dataclass(frozen=True, kw_only=True)
class SS2DConfig:
    """The inner sizes of SS2D; the defaults are those of the authors' class.

    Args:
        d_state: states per channel and direction.
        ratio: inner channels per channel of the block.
        dt_rank: rank of the step-size projections; None for channels / 16, rounded up.
        gate: whether a second projection of the input gates the output.
        d_conv: rows and columns of the depthwise convolution's kernel, odd; 1 for no convolution.
        conv_bias: whether the convolution has a bias.
        activation: after the convolution and of the gate.

    Raises:
        ConfigError: a field has a value that its type does not allow, or d_conv is even.

    Examples:
        >>> SS2DConfig(d_state=1, gate=False).ratio
        2.0
    """

    d_state: int = 16
    ratio: float = 2.0
    dt_rank: int | None = None
    gate: bool = True
    d_conv: int = 3
    conv_bias: bool = True
    activation: Activation = "silu"

    def __post_init__(self) -> None:
        check(self)
        if self.d_conv % 2 == 0:
            raise ConfigError(f"d_conv is {self.d_conv}; expected an odd number")


class SS2D(nn.Module):
    """A selective scan of a map in four directions after a depthwise convolution.

    Args:
        dim: channels of the map.
        config: inner sizes.
    """

    def __init__(self, dim: int, config: SS2DConfig) -> None:
        super().__init__()
        self.config = config
        self.d_inner = int(config.ratio * dim)
        self.dt_rank = config.dt_rank or math.ceil(dim / 16)
        d_inner, d_state = self.d_inner, config.d_state
        n_projected = self.dt_rank + 2 * d_state
        self.in_proj = new_linear(dim, d_inner * (2 if config.gate else 1), bias=False)
        if config.d_conv > 1:
            self.conv2d = nn.Conv2d(
                d_inner,
                d_inner,
                config.d_conv,
                padding=config.d_conv // 2,
                groups=d_inner,
                bias=config.conv_bias,
            )
        self.x_proj_weight = nn.Parameter(torch.empty(N_DIRECTIONS, n_projected, d_inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(N_DIRECTIONS, d_inner, self.dt_rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(N_DIRECTIONS, d_inner))
        self.A_logs = nn.Parameter(torch.empty(N_DIRECTIONS * d_inner, d_state))
        self.Ds = nn.Parameter(torch.ones(N_DIRECTIONS * d_inner))
        self.out_norm = nn.LayerNorm(d_inner)
        self.out_proj = new_linear(d_inner, dim, bias=False)
        self._initialize()

    def _initialize(self) -> None:
        nn.init.uniform_(self.x_proj_weight, -(self.d_inner**-0.5), self.d_inner**-0.5)
        nn.init.uniform_(self.dt_projs_weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        draw_step_sizes(self.dt_projs_bias)
        log_of_states(self.A_logs)

    def forward(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Mix the positions of a map.

        Args:
            x: (batch, rows, columns, dim).
            columns: (batch,) columns of each map; None for all.

        Returns:
            (batch, rows, columns, dim).
        """
        # One product per half: a slice of a common one would be no dense map for the convolution.
        u = linear(x, self.in_proj.weight[: self.d_inner])
        if self.config.d_conv > 1:
            u = mask_padding(u, columns, dim=2).permute(0, 3, 1, 2)
            u = dense_conv(self.conv2d, u).permute(0, 2, 3, 1)
        y: Tensor = self.out_norm(self._scan(activate(u, self.config.activation), columns))
        if self.config.gate:
            z = linear(x, self.in_proj.weight[self.d_inner :])
            y = y * activate(z, self.config.activation)
        out: Tensor = self.out_proj(y)
        return out

    def _scan(self, u: Tensor, columns: Tensor | None) -> Tensor:
        projected = linear(u, self.x_proj_weight.flatten(0, 1)).unflatten(-1, (N_DIRECTIONS, -1))
        dt, b, c = projected.split([self.dt_rank, self.config.d_state, self.config.d_state], dim=-1)
        return cross_selective_scan(
            u,
            dt,
            -torch.exp(self.A_logs),
            b,
            c,
            dt_weight=self.dt_projs_weight,
            D=self.Ds,
            delta_bias=self.dt_projs_bias.flatten(),
            columns=columns,
        )


def new_linear(n_in: int, n_out: int, *, bias: bool = True) -> nn.Linear:
    """A linear layer, initialized as in the paper's code."""
    layer = Linear(n_in, n_out, bias=bias)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def dense_conv(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve (batch, channels, rows, columns) with channels last in memory, as it came."""
    out: Tensor = conv(x.contiguous(memory_format=torch.channels_last))
    return out.contiguous(memory_format=torch.channels_last)


def activate(x: Tensor, kind: Activation) -> Tensor:
    """Apply an activation by name."""
    if kind == "silu":
        return F.silu(x)
    if kind == "gelu":
        return F.gelu(x)
    return F.relu(x) if kind == "relu" else x.sigmoid()
