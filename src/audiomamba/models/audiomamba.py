"""The hierarchical Audio Mamba: HTS-AT's way with spectrograms, around VMamba's stages.

A log-mel spectrogram is normalized per band and folded into a square image; VMamba's stages shrink
it, and a token-semantic head scores time steps, whose mean scores the clip. In the paper's
ablation a transformer block follows each block of the stages.

The authors released neither model code nor weights. Their settings file gives the tiny model's
depths and width; with the defaults of VMamba's class for all else, its size is that of the paper's
table. The micro and nano models are parameter-matched reconstructions: width and ratio are chosen
so that the sizes are those of the table.

Source: Lin and Hu, "Audio Mamba: Pretrained Audio State Space Model for Audio Tagging" (2024),
section 3, and section 4.3 for the transformer blocks.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from audiomamba.errors import ConfigError
from audiomamba.models.layers.attention import Attention
from audiomamba.models.layers.downsample import new_patch_embed
from audiomamba.models.layers.drop_path import drop_path
from audiomamba.models.layers.mel_image import MelImageConfig, MelImageModel
from audiomamba.models.layers.ss2d import SS2DConfig
from audiomamba.models.layers.stages import MLP, MLPConfig, Stage, StagesConfig, run_stages

__all__ = ["MODELS", "AudioMamba", "AudioMambaConfig"]

PATCH = 4


@dataclass(frozen=True, kw_only=True)
class AudioMambaConfig(MelImageConfig, StagesConfig):
    """Settings of the hierarchical Audio Mamba; the defaults are those of the tiny model.

    Args:
        n_heads: per stage, attention heads of a transformer block after each block; None for no
            transformer blocks.

    Raises:
        ConfigError: n_heads has not one number per stage that divides its channels.

    Examples:
        >>> AudioMambaConfig().most_frames  # four chunks of 256 frames, one below the other
        1024
    """

    family: ClassVar[str] = "audiomamba"

    depths: tuple[int, ...] = (2, 2, 6, 2)
    drop_path: float = 0.2
    n_heads: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_heads is None:
            return
        if len(self.n_heads) != len(self.dims) or any(
            dim % n for n, dim in zip(self.n_heads, self.dims, strict=True)
        ):
            raise ConfigError(
                f"n_heads is {self.n_heads}; expected one divisor of each of dims, {self.dims}"
            )

    def build(self) -> "AudioMamba":
        """Make the model, with fresh weights."""
        return AudioMamba(self)


class TransformerBlock(nn.Module):
    """Attention among all positions of a map and an MLP, after norms and beside shortcuts.

    Args:
        dim: channels of the map.
        n_heads: attention heads.
        drop_path: probability of dropping a branch of a sample, in training.
    """

    def __init__(self, dim: int, n_heads: int, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, n_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, MLPConfig())
        for layer in (self.attn.qkv, self.attn.proj):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Mix positions, then channels; (batch, rows, columns, dim) in and out."""
        rate = self.drop_path if self.training else 0.0
        tokens = x.flatten(1, 2)
        tokens = tokens + drop_path(self.attn(self.norm1(tokens)), rate)
        tokens = tokens + drop_path(self.mlp(self.norm2(tokens)), rate)
        return tokens.view_as(x)


class MixedStage(Stage):
    """A stage with a transformer block after each of VMamba's blocks.

    Args:
        config: of the model; with n_heads.
        index: which stage.
    """

    def __init__(self, config: StagesConfig, index: int, n_heads: int) -> None:
        super().__init__(config, index)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(config.dims[index], n_heads, rate) for rate in config.drop_rates(index)
        )

    def run_blocks(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Run the blocks in turns; (batch, rows, columns, channels) in and out, all columns."""
        for block, transformer_block in zip(self.blocks, self.transformer_blocks, strict=True):
            x = transformer_block(block(x, columns))
        return x


class AudioMamba(MelImageModel):
    """The hierarchical Audio Mamba.

    Args:
        config: its settings.

    Raises:
        ConfigError: the image cannot be shrunk as often as there are stages.

    Examples:
        >>> import torch
        >>> sizes = {"depths": (1, 1), "dims": (8, 16), "image_size": 128, "n_classes": 10}
        >>> model = AudioMambaConfig(**sizes).build().eval()
        >>> model(torch.zeros(2, 100, 64)).shape
        torch.Size([2, 10])
    """

    config: AudioMambaConfig

    def __init__(self, config: AudioMambaConfig) -> None:
        n_stages = len(config.dims)
        super().__init__(config, dim=config.dims[-1], stride=PATCH * 2 ** (n_stages - 1))
        self.patch_embed = new_patch_embed(config.patch_embed, 1, config.dims[0], patch=PATCH)
        self.layers = nn.ModuleList(
            Stage(config, index)
            if config.n_heads is None
            else MixedStage(config, index, config.n_heads[index])
            for index in range(n_stages)
        )

    def stages(self, image: Tensor) -> list[Tensor]:
        """Encode an image.

        Args:
            image: (batch, 1, image_size, image_size).

        Returns:
            One map (batch, rows, columns, channels) per stage, the largest first, before the last
            norm.
        """
        return run_stages(self.layers, self.patch_embed(image)[0])[0]


MODELS = {
    "audiomamba_micro": AudioMambaConfig(dims=(56, 112, 224, 448), ss2d=SS2DConfig(ratio=1.0)),
    "audiomamba_nano": AudioMambaConfig(
        depths=(2, 2, 5, 2), dims=(32, 64, 128, 256), ss2d=SS2DConfig(ratio=1.0)
    ),
    "audiomamba_tiny": AudioMambaConfig(),
}
