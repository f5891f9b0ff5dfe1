"""VMamba: a hierarchy of maps whose blocks scan in four directions; and DASS, the same for sound.

An image, or a log-mel spectrogram with frequency along rows and time along columns, becomes a map
of patches. Stages of blocks work on it; between stages the map's sides halve and its channels
double. A block is SS2D (a depthwise convolution, then a selective scan in four directions) and an
MLP, each after a layer norm and beside a shortcut. The normed last map is averaged for the head.

The published variants: vanilla (v0: gated, 16 states, no MLP), and the later s2l5 and s1l8 (no
gate, one state, an MLP; 2 or 1 inner channels per channel, 5 or 8 blocks in the third stage). DASS
is s1l8, and the same with 20 blocks, on spectrograms.

Source: Liu et al., "VMamba: Visual State Space Model" (2024); Bhati et al., "DASS: Distilled Audio
State Space Models Are Stronger and More Duration-Scalable Learners" (2024), for sound.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from audiomamba.errors import ConfigError
from audiomamba.models.base import FrameSteps, new_head
from audiomamba.models.layers.downsample import new_patch_embed
from audiomamba.models.layers.input_map import as_map
from audiomamba.models.layers.ss2d import SS2DConfig
from audiomamba.models.layers.stages import Stage, StagesConfig, run_stages
from audiomamba.models.layers.vision import FeatureMap, HierarchicalModel, VisionConfig
from audiomamba.ops.padding import masked_mean

__all__ = [
    "VMamba",
    "VMambaConfig",
]


@dataclass(frozen=True, kw_only=True)
class VMambaConfig(StagesConfig, VisionConfig):
    """Settings of VMamba; the defaults are those of the authors' class.

    Args:
        patch: rows and columns of the input per row and column of the first map.
        patch_norm: whether layer norms follow the patch embedding's convolutions.

    Raises:
        ConfigError: patch is not 4 with two convolutions, which shrink the input fourfold.

    Examples:
        >>> VMambaConfig().weights_from, VMambaConfig(n_channels=1).weights_from
        ('VMamba', 'DASS')
    """

    family: ClassVar[str] = "vmamba"
    one_pass: ClassVar[bool] = True

    n_classes: int = 1000
    n_mels: int = 224
    n_frames: int = 224
    n_channels: Literal[1, 3] = 3
    patch: int = 4
    patch_norm: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patch_embed == "convs" and self.patch != 4:
            raise ConfigError(f"patch is {self.patch}; with 'convs' expected 4, their stride")

    @property
    def min_side(self) -> int:
        """Rows and columns of input that are sure to leave something in the last stage."""
        side = 2 ** (len(self.depths) - 1) if self.downsample in ("merge-crop", "conv2") else 1
        return side * self.patch

    @property
    def weights_from(self) -> str:
        """Whose released weights fit: DASS's for sound, VMamba's for images."""
        return "DASS" if self.reads_sound else "VMamba"

    def build(self) -> "VMamba":
        """Make the model, with fresh weights."""
        return VMamba(self)


class VMamba(HierarchicalModel):
    """VMamba.

    Args:
        config: its settings.

    Examples:
        >>> import torch
        >>> model = VMambaConfig(depths=(1, 1), dims=(8, 16), n_classes=10).build()
        >>> model(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    config: VMambaConfig

    def __init__(self, config: VMambaConfig) -> None:
        super().__init__(config)
        self.patch_embed = new_patch_embed(
            config.patch_embed,
            config.n_channels,
            config.dims[0],
            patch=config.patch,
            norm=config.patch_norm,
        )
        self.layers = nn.ModuleList(Stage(config, index) for index in range(len(config.depths)))
        self.norm = nn.LayerNorm(config.dims[-1])
        self.head = new_head(config.dims[-1], config.n_classes)

    def _maps(self, features: Tensor, lengths: Tensor | None) -> tuple[list[Tensor], Tensor | None]:
        """Each stage's map (batch, rows, columns, dim), and the last one's columns per clip."""
        config = self.config
        x, lengths = as_map(features, lengths, config, shortest=config.min_side)
        if min(x.shape[2:]) < config.min_side:
            raise ConfigError(
                f"features have {x.shape[2]} rows and {x.shape[3]} columns; "
                f"expected at least {config.min_side} of each"
            )
        return run_stages(self.layers, *self.patch_embed(x, lengths))

    def forward_intermediates(self, features: Tensor) -> list[FeatureMap]:
        """Encode features as one map per stage.

        Args:
            features: (batch, frames, mels) of any length, or images (batch, 3, height, width) of
                any size.

        Returns:
            The stages' outputs, not normed, the largest map first.

        Raises:
            ConfigError: the features are too small, or of other channels or mel bands.
        """
        maps, _ = self._maps(features, None)
        return [
            FeatureMap(x.permute(0, 3, 1, 2), self.config.patch * 2**n) for n, x in enumerate(maps)
        ]

    def tokens(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as a sequence of tokens.

        Args:
            features: as for forward_intermediates.
            lengths: (batch,) frames of each clip, integers, for features; None for all frames of
                all clips.

        Returns:
            (batch, tokens, dim), the last stage's positions row by row, after the last norm. What a
            shorter clip has after its own columns means nothing.

        Raises:
            ConfigError: as for forward_intermediates, or the lengths do not fit.
        """
        return self._last_map(features, lengths)[0].flatten(1, 2)

    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per clip or image.

        Args:
            features: as for forward_intermediates.
            lengths: as for tokens.

        Returns:
            (batch, dim), the mean of the tokens.
        """
        last, columns = self._last_map(features, lengths)
        return masked_mean(last.mean(dim=1), columns)

    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per column of the last map.

        Args:
            features: as for forward_intermediates.
            lengths: as for tokens.

        Returns:
            (batch, columns, dim), the mean over a column's tokens.
        """
        return self._last_map(features, lengths)[0].mean(dim=1)

    def frame_steps(self, n_frames: int) -> FrameSteps:
        """Say how a clip is divided into columns of the last map.

        Args:
            n_frames: frames of the clip, at least config.min_side.

        Returns:
            The columns; the last may be filled in part only, or frames after it left out.
        """
        config, halvings = self.config, len(self.config.depths) - 1
        count = n_frames // config.patch
        if config.patch_embed == "convs":
            step = config.patch // 2
            count = ((n_frames + 1) // step + 1) // step
        for _ in range(halvings):
            count = (count + (config.downsample in ("merge", "conv3"))) // 2
        return FrameSteps(count, config.patch * 2**halvings)

    def _last_map(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The last map after the norm, and each clip's columns."""
        maps, columns = self._maps(features, lengths)
        return self.norm(maps[-1]), columns


# Without gate and with one state, as VMamba's later versions are.
S2L5 = VMambaConfig(
    patch_embed="convs",
    depths=(2, 2, 5, 2),
    downsample="conv3",
    ss2d=SS2DConfig(d_state=1, gate=False, conv_bias=False),
    drop_path=0.2,
)
S1L8 = S2L5.changed(
    depths=(2, 2, 8, 2), ss2d=SS2DConfig(d_state=1, ratio=1.0, gate=False, conv_bias=False)
)
DASS_SMALL = S1L8.changed(n_channels=1, n_mels=128, n_frames=1024, n_classes=527)
MODELS = {
    "dass_medium": DASS_SMALL.changed(depths=(2, 2, 20, 2), drop_path=0.3),
    "dass_small": DASS_SMALL,
    "vmamba_tiny_s1l8": S1L8,
    "vmamba_tiny_s2l5": S2L5,
    "vmamba_tiny_v0": VMambaConfig(downsample="merge", mlp=None, drop_path=0.2),
}
