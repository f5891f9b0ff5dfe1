"""Multi-head self-attention and the MLP that follows it in a transformer block.

Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2; Dosovitskiy et al., "An
Image Is Worth 16x16 Words" (2021), section 3.1.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.ops import Linear

__all__ = ["MLP", "Attention"]


class Attention(nn.Module):
    """Multi-head self-attention.

    Args:
        dim: channels of a token.
        n_heads: attention heads.
    """

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            x: (batch, tokens, dim).
            seen: (batch, tokens) bool, the tokens that are attended to; None for all.

        Returns:
            (batch, tokens, dim).
        """
        query, key, value = self.qkv(x).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if seen is None else seen[:, None, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class MLP(nn.Module):
    """Two linear layers, four times as wide between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = Linear(dim, 4 * dim)
        self.fc2 = Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token; (batch, tokens, dim) in and out."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out
