"""What the blocks of a model do, kind by kind, on inputs of the shapes and strides that they have.

Each part goes through all blocks, with the weights of each, as a run of the model does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba import ops
from audiomamba.bench.implementation import Outputs
from audiomamba.models.ast import AST
from audiomamba.models.aum import AuM
from audiomamba.ops.add_norm import NORM_EPS

__all__ = ["Part", "ast_parts", "aum_parts", "random_like"]

Part = Callable[[], Outputs]


def aum_parts(model: AuM, batch: int, tokens: int) -> dict[str, Part]:
    """Take an AuM with the mixer fo-bi apart.

    Args:
        model: on its device and in its dtype.
        batch: clips.
        tokens: of each.

    Returns:
        The blocks as a whole, and their parts, by name.
    """
    blocks: list[Any] = list(model.layers)
    first, weight = blocks[0].mixer, blocks[0].mixer.in_proj.weight
    x, z = random_like(weight, batch, tokens, weight.shape[0]).chunk(2, dim=-1)
    sizes = [first.dt_rank, first.ssm.d_state, first.ssm.d_state]
    dt, b, c = random_like(weight, batch, tokens, sum(sizes)).split(sizes, dim=-1)
    hidden = random_like(weight, batch, tokens, weight.shape[1])
    given = _AuMBlocks(
        blocks=blocks,
        hidden=hidden,
        residual=hidden.float(),
        x=x,
        z=z,
        u=random_like(weight, batch, tokens, first.d_inner),
        dt=dt,
        delta=random_like(weight, batch, tokens, first.d_inner),
        b=b,
        c=c,
    )
    return {
        "whole": given.whole,
        "linear layers": given.linear_layers,
        "scan": given.scan,
        "conv": given.conv,
        "norm": given.norm,
    }


def ast_parts(model: AST, batch: int, tokens: int) -> dict[str, Part]:
    """Take an AST apart.

    Args:
        model: on its device and in its dtype.
        batch: clips.
        tokens: of each.

    Returns:
        The blocks as a whole, and their parts, by name.
    """
    dim = model.config.dim
    given = _ASTBlocks(
        blocks=list(model.blocks),
        n_heads=model.config.n_heads,
        hidden=random_like(model.cls_token, batch, tokens, dim),
        wide=random_like(model.cls_token, batch, tokens, 4 * dim),
        qkv=random_like(model.cls_token, batch, tokens, 3 * dim),
    )
    return {
        "whole": given.whole,
        "linear layers": given.linear_layers,
        "attention": given.attention,
        "norm": given.norm,
        "gelu": given.gelu,
    }


def random_like(weight: Tensor, *shape: int) -> Tensor:
    """Make random numbers on the device and in the dtype of a weight, the same each time.

    Args:
        weight: of a model.
        shape: of the numbers.

    Returns:
        Normal numbers.
    """
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator).to(weight.device, weight.dtype)


@dataclass(frozen=True, kw_only=True)
class _AuMBlocks:
    """The blocks of an AuM, and inputs for what they do."""

    blocks: list[Any]
    hidden: Tensor
    residual: Tensor
    x: Tensor
    z: Tensor
    u: Tensor
    dt: Tensor
    delta: Tensor
    b: Tensor
    c: Tensor

    @torch.inference_mode()
    def whole(self) -> Outputs:
        hidden, residual = self.hidden, None
        for block in self.blocks:
            hidden, residual = block(hidden, residual)
        return (hidden,)

    @torch.inference_mode()
    def linear_layers(self) -> Outputs:
        made: Outputs = ()
        for block in self.blocks:
            mixer = block.mixer
            delta = ops.linear(self.dt, mixer.dt_proj.weight)
            made = (mixer.in_proj(self.hidden), mixer.x_proj(self.u), delta, mixer.out_proj(self.u))
        return made

    @torch.inference_mode()
    def scan(self) -> Outputs:
        made: Outputs = ()
        for block in self.blocks:
            mixer = block.mixer
            out = ops.bidirectional_selective_scan(
                self.u,
                self.delta,
                -torch.exp(mixer.A_log),
                -torch.exp(mixer.A_b_log),
                self.b,
                self.c,
                D=mixer.D,
                z=self.z,
                delta_bias=mixer.dt_proj.bias,
                delta_softplus=True,
            )
            made = (out,)
        return made

    @torch.inference_mode()
    def conv(self) -> Outputs:
        made: Outputs = ()
        for block in self.blocks:
            conv = block.mixer.conv1d
            out = ops.causal_conv1d(self.x, conv.weight[:, 0], conv.bias, activation="silu")
            made = (out,)
        return made

    @torch.inference_mode()
    def norm(self) -> Outputs:
        made: Outputs = ()
        for block in self.blocks:
            made = ops.add_rms_norm(self.hidden, self.residual, block.norm.weight, eps=NORM_EPS)
        return made


@dataclass(frozen=True, kw_only=True)
class _ASTBlocks:
    """The blocks of an AST, and inputs for what they do."""

    blocks: list[Any]
    n_heads: int
    hidden: Tensor
    wide: Tensor
    qkv: Tensor

    @torch.inference_mode()
    def whole(self) -> Outputs:
        hidden = self.hidden
        for block in self.blocks:
            hidden = block(hidden)
        return (hidden,)

    @torch.inference_mode()
    def linear_layers(self) -> Outputs:
        made: Outputs = ()
        for block in self.blocks:
            attn, mlp = block.attn, block.mlp
            made = (attn.qkv(self.hidden), attn.proj(self.hidden))
            made = (*made, mlp.fc1(self.hidden), mlp.fc2(self.wide))
        return made

    @torch.inference_mode()
    def attention(self) -> Outputs:
        made: Outputs = ()
        for _ in self.blocks:
            query, key, value = self.qkv.unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(query, key, value)
            made = (mixed.transpose(1, 2).flatten(2),)
        return made

    @torch.inference_mode()
    def norm(self) -> Outputs:
        made: Outputs = ()
        for block in self.blocks:
            made = (block.norm1(self.hidden), block.norm2(self.hidden))
        return made

    @torch.inference_mode()
    def gelu(self) -> Outputs:
        made: Outputs = ()
        for _ in self.blocks:
            made = (F.gelu(self.wide),)
        return made
