"""HTS-AT, the hierarchical token-semantic audio transformer: a Swin transformer on a mel image.

The mel image is cut into 4x4 patches. Four stages of transformer blocks attend within windows of
8x8 tokens; every other block shifts the windows by half, so that what is seen spreads. Between two
stages 2x2 tokens are merged to one. A token-semantic head scores every time step.

Source: Chen et al., "HTS-AT: A Hierarchical Token-Semantic Audio Transformer for Sound
Classification and Detection" (2022), section 2; Liu et al., "Swin Transformer" (2021), for the
blocks.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError
from audiomamba.models.layers.attention import MLP
from audiomamba.models.layers.drop_path import drop_path, drop_rates
from audiomamba.models.layers.mel_image import MelImageConfig, MelImageModel
from audiomamba.ops import Linear

__all__ = ["HTSAT", "MODELS", "HTSATConfig", "WindowAttention"]

NOT_SEEN = -100.0  # added to the attention between tokens that no window of the whole image joins


@dataclass(frozen=True, kw_only=True)
class HTSATConfig(MelImageConfig):
    """Settings of HTS-AT; the defaults are the released model's.

    Args:
        patch: (rows, columns) of the image that become one token.
        stride: (rows, columns) between patches; None for the patch itself, no overlap.
        dim: channels of the first stage; each stage has twice as many as the one before.
        depths: blocks of each stage.
        n_heads: attention heads of each stage's blocks.
        window: rows and columns of tokens that attend to each other.
        drop_path: highest probability of dropping a block's branch in training; grows linearly with
            depth.

    Raises:
        ConfigError: stages, heads, patches and windows do not fit each other or the image.

    Examples:
        >>> config = HTSATConfig()
        >>> [config.map_size(stage) for stage in range(4)]
        [(64, 64), (32, 32), (16, 16), (8, 8)]
    """

    family: ClassVar[str] = "htsat"

    patch: tuple[int, int] = (4, 4)
    stride: tuple[int, int] | None = None
    dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    n_heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 8
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.depths) != len(self.n_heads):
            raise ConfigError(
                f"depths {self.depths} and n_heads {self.n_heads} differ in length; "
                "expected one of each per stage"
            )
        for stage, heads in enumerate(self.n_heads):
            if self.dim * 2**stage % heads:
                raise ConfigError(
                    f"stage {stage} has {self.dim * 2**stage} channels and {heads} heads; "
                    "expected a multiple of the heads"
                )
        over = [size - step for size, step in zip(self.patch, self.steps, strict=True)]
        if min(over) < 0 or any(size % 2 for size in over):
            raise ConfigError(
                f"patch is {self.patch} and stride {self.stride}; "
                "expected patches larger by an even number, or equal"
            )
        for stage in range(len(self.depths)):
            self._check_map(stage)

    def _check_map(self, stage: int) -> None:
        divisors = [step * 2**stage for step in self.steps]
        rows, columns = self.map_size(stage)
        window = min(self.window, rows, columns)
        whole = all(self.image_size % divisor == 0 for divisor in divisors)
        if not whole or rows % window or columns % window:
            raise ConfigError(
                f"stage {stage} has a map of {self.image_size / divisors[0]:g} by "
                f"{self.image_size / divisors[1]:g} tokens; expected whole windows of {self.window}"
            )

    @property
    def steps(self) -> tuple[int, int]:
        """Rows and columns of the image from one token to the next."""
        return self.stride or self.patch

    def map_size(self, stage: int) -> tuple[int, int]:
        """Rows and columns of a stage's map.

        Args:
            stage: its index, from 0.

        Returns:
            (rows, columns).
        """
        rows, columns = (self.image_size // step for step in self.steps)
        return rows // 2**stage, columns // 2**stage

    @property
    def weights_from(self) -> str:
        """Whose released weights fit."""
        return "HTS-AT"

    def build(self) -> "HTSAT":
        """Make the model, with fresh weights."""
        return HTSAT(self)


class PatchEmbed(nn.Module):
    """Cut an image into patches and project each to a token.

    Args:
        patch: (rows, columns).
        stride: (rows, columns) between patches; larger patches overlap, half of the overlap on each
            side.
        dim: channels of a token.
    """

    def __init__(self, patch: tuple[int, int], stride: tuple[int, int], dim: int) -> None:
        super().__init__()
        padding = ((patch[0] - stride[0]) // 2, (patch[1] - stride[1]) // 2)
        self.proj = nn.Conv2d(1, dim, patch, stride, padding)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """Project patches; (batch, 1, height, width) to (batch, rows, columns, dim)."""
        out: Tensor = self.norm(self.proj(image).permute(0, 2, 3, 1))
        return out


class WindowAttention(nn.Module):
    """Multi-head self-attention within square windows of a map.

    Each head adds a learned bias for every offset between two tokens of a window.

    Args:
        dim: channels of a token.
        n_heads: attention heads.
        window: rows and columns of a window.
        shift: rows and columns by which the windows are shifted, with what falls off one edge
            coming in at the other; what is not side by side in the map does not attend.

    Source: Liu et al. 2021, section 3.2.
    """

    def __init__(self, dim: int, n_heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.window = window
        self.shift = shift
        table = torch.empty((2 * window - 1) ** 2, n_heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Attend; (batch, rows, columns, dim) in and out."""
        size = (x.shape[1], x.shape[2])
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
        windows = self._cut(self.qkv(x))
        # (batch, windows, tokens, 3 * heads * width) -> 3 times (batch, windows * heads, tokens,
        # width): one bias for all clips, without a copy for each.
        parts = windows.unflatten(3, (3, self.n_heads, -1)).permute(3, 0, 1, 4, 2, 5).flatten(2, 3)
        bias = self._bias(size).to(parts.dtype)
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=bias)
        mixed = mixed.unflatten(1, (-1, self.n_heads)).transpose(2, 3).flatten(3)
        joined = self._join(mixed, size)
        if self.shift:
            joined = joined.roll((self.shift, self.shift), dims=(1, 2))
        out: Tensor = self.proj(joined)
        return out

    def _cut(self, x: Tensor) -> Tensor:
        """(batch, rows, columns, dim) -> (batch, windows, tokens, dim)."""
        rows: Tensor = x.unflatten(1, (-1, self.window)).unflatten(3, (-1, self.window))
        return rows.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def _join(self, windows: Tensor, size: tuple[int, int]) -> Tensor:
        """(batch, windows, tokens, dim) -> (batch, rows, columns, dim)."""
        grid = (size[0] // self.window, size[1] // self.window)
        tiles: Tensor = windows.unflatten(1, grid).unflatten(3, (self.window, self.window))
        return tiles.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def _bias(self, size: tuple[int, int]) -> Tensor:
        """What is added to the attention: (1, windows * heads, tokens, tokens)."""
        table = self.relative_position_bias_table
        position = torch.arange(self.window, device=table.device)
        offset = position[:, None] - position + self.window - 1
        index = offset[:, None, :, None] * (2 * self.window - 1) + offset[None, :, None, :]
        n_tokens = self.window**2
        bias = table[index.flatten()].T.reshape(1, self.n_heads, n_tokens, n_tokens)
        if self.shift:
            region = self._cut(self._regions(size, table.device)).squeeze(-1)[0]
            apart = region[:, None, :, None] != region[:, None, None, :]
            bias = bias + NOT_SEEN * apart.to(bias.dtype)
        else:
            n_windows = size[0] * size[1] // n_tokens
            bias = bias.expand(n_windows, -1, -1, -1)
        return bias.flatten(0, 1).unsqueeze(0)

    def _regions(self, size: tuple[int, int], device: torch.device) -> Tensor:
        """Numbers (1, rows, columns, 1) that are equal where the shifted map hangs together."""
        rows, columns = (
            (torch.arange(length, device=device) >= length - self.shift).int() for length in size
        )
        return (2 * rows[:, None] + columns)[None, :, :, None]


class SwinBlock(nn.Module):
    """Window attention and a perceptron, each after a norm and beside a shortcut.

    Args:
        dim: channels of a token.
        n_heads: attention heads.
        window: rows and columns of a window.
        shift: rows and columns by which the windows are shifted.
        drop_path: probability of dropping a branch of a sample, in training.
    """

    def __init__(
        self, dim: int, n_heads: int, *, window: int, shift: int, drop_path: float
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, n_heads, window, shift)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Mix tokens, then channels; (batch, rows, columns, dim) in and out."""
        rate = self.drop_path if self.training else 0.0
        x = x + drop_path(self.attn(self.norm1(x)), rate)
        return x + drop_path(self.mlp(self.norm2(x)), rate)


class PatchMerging(nn.Module):
    """Join 2x2 tokens to one of twice the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Halve a map; (batch, rows, columns, dim) to (batch, rows / 2, columns / 2, 2 * dim)."""
        quads: Tensor = x.unflatten(1, (-1, 2)).unflatten(3, (-1, 2))
        joined = quads.permute(0, 1, 3, 4, 2, 5).flatten(3)  # down the left column, then the right
        out: Tensor = self.reduction(self.norm(joined))
        return out


class Stage(nn.Module):
    """Blocks on a map of one size, every other one with shifted windows, then perhaps a merging.

    Args:
        config: the model's settings.
        index: which stage this is, from 0.
        rates: drop path of each block.
    """

    def __init__(self, config: HTSATConfig, index: int, rates: list[float]) -> None:
        super().__init__()
        dim = config.dim * 2**index
        smaller = min(config.map_size(index))
        window = min(config.window, smaller)
        shift = window // 2 if window < smaller else 0
        self.blocks = nn.ModuleList(
            SwinBlock(
                dim,
                config.n_heads[index],
                window=window,
                shift=shift if block % 2 else 0,
                drop_path=rate,
            )
            for block, rate in enumerate(rates)
        )
        is_last = index == len(config.depths) - 1
        self.downsample = nn.Identity() if is_last else PatchMerging(dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a map (batch, rows, columns, dim); give it, and what the next stage reads."""
        for block in self.blocks:
            x = block(x)
        return x, self.downsample(x)


class HTSAT(MelImageModel):
    """Hierarchical token-semantic audio transformer.

    Args:
        config: its settings.

    Examples:
        >>> sizes = {"depths": (1, 1), "n_heads": (2, 2), "dim": 8, "image_size": 128, "window": 4}
        >>> model = HTSATConfig(n_classes=10, **sizes).build().eval()
        >>> model(torch.zeros(2, 100, 64)).shape
        torch.Size([2, 10])
    """

    undecayed = frozenset({"relative_position_bias_table"})
    config: HTSATConfig

    def __init__(self, config: HTSATConfig) -> None:
        stride = 2 ** (len(config.depths) - 1)
        super().__init__(config, dim=config.dim * stride, stride=config.steps[0] * stride)
        self.patch_embed = PatchEmbed(config.patch, config.steps, config.dim)
        rates = iter(drop_rates(config.drop_path, sum(config.depths)))
        self.layers = nn.ModuleList(
            Stage(config, index, [next(rates) for _ in range(depth)])
            for index, depth in enumerate(config.depths)
        )
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def stages(self, image: Tensor) -> list[Tensor]:
        """Encode an image.

        Args:
            image: (batch, 1, image_size, image_size).

        Returns:
            One map (batch, rows, columns, channels) per stage, before any merging.
        """
        x, maps = self.patch_embed(image), []
        for layer in self.layers:
            output, x = layer(x)
            maps.append(output)
        return maps


MODELS = {"htsat_tiny": HTSATConfig()}
