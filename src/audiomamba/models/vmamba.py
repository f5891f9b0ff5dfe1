"""VMamba: a hierarchy of maps whose blocks scan in four directions; and DASS, the same for sound.

An image, or a log-mel spectrogram with frequency along rows and time along columns, becomes a map
of patches. Stages of blocks work on it; between stages the map's sides halve and its channels
double. A block is SS2D (a depthwise convolution, then a selective scan in four directions) and an
MLP, each behind a layer norm and beside a shortcut. The normed last map is averaged for the head.

The published variants: vanilla (v0: gated, 16 states, no MLP), and the later s2l5 and s1l8 (no
gate, one state, an MLP; 2 or 1 inner channels per channel, 5 or 8 blocks in the third stage). DASS
is s1l8, and the same with 20 blocks, on spectrograms.

Source: Liu et al., "VMamba: Visual State Space Model" (2024); Bhati et al., "DASS: Distilled Audio
State Space Models Are Stronger and More Duration-Scalable Learners" (2024), for sound.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError
from audiomamba.models.base import (
    FeatureMap,
    HierarchicalModel,
    ModelConfig,
    as_map,
    check_fields,
    drop_path,
    new_head,
)
from audiomamba.models.ss2d import SS2D, Activation, SS2DConfig, activate, dense_conv, new_linear

__all__ = [
    "MLPConfig",
    "Stage",
    "StagesConfig",
    "VMamba",
    "VMambaConfig",
    "new_patch_embed",
    "run_stages",
]


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """The MLP of a block.

    Args:
        kind: "plain", or "gated": the activation of one half of the first layer's outputs
            multiplies the other half.
        ratio: hidden channels per channel of the block.
        activation: between the two layers.

    Raises:
        ConfigError: a field has a value that its type does not allow.
    """

    kind: Literal["plain", "gated"] = "plain"
    ratio: float = 4.0
    activation: Activation = "gelu"

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class StagesConfig(ModelConfig):
    """Settings of all models with VMamba's stages.

    Args:
        patch_embed: "patch" for one convolution without overlap (v1), "convs" for two overlapping
            ones (v2).
        depths: blocks per stage.
        dims: channels per stage.
        downsample: between stages: "merge" concatenates 2 by 2 neighbours, norms and projects them,
            padding odd sides (v1), "merge-crop" drops the last row or column instead (v1 of January
            2024); "conv2" and "conv3" are strided convolutions of 2 by 2 (v2) and 3 by 3 (v3) with
            a norm.
        ss2d: inner sizes of SS2D.
        mlp: the blocks' MLP; None for blocks without.
        drop_path: highest probability of dropping a block's branch in training; grows linearly with
            depth.

    Raises:
        ConfigError: depths and dims differ in length.
    """

    patch_embed: Literal["patch", "convs"] = "patch"
    depths: tuple[int, ...] = (2, 2, 9, 2)
    dims: tuple[int, ...] = (96, 192, 384, 768)
    downsample: Literal["merge", "merge-crop", "conv2", "conv3"] = "conv2"
    ss2d: SS2DConfig = field(default_factory=SS2DConfig)
    mlp: MLPConfig | None = field(default_factory=MLPConfig)
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.depths) != len(self.dims):
            raise ConfigError(
                f"depths has {len(self.depths)} stages, dims {len(self.dims)}; expected the same"
            )

    def drop_rates(self, stage: int) -> list[float]:
        """The probabilities of dropping a branch, for each block of a stage."""
        before = sum(self.depths[:stage])
        rates: list[float] = torch.linspace(
            0, self.drop_path, sum(self.depths), device="cpu"
        ).tolist()
        return rates[before : before + self.depths[stage]]


@dataclass(frozen=True, kw_only=True)
class VMambaConfig(StagesConfig):
    """Settings of VMamba; the defaults are those of the authors' class.

    Args:
        n_channels: 3 for images (n_mels by n_frames pixels), 1 for spectrograms.
        patch: rows and columns of the input per row and column of the first map.
        patch_norm: whether layer norms follow the patch embedding's convolutions.

    Raises:
        ConfigError: patch is odd with two convolutions.
    """

    family: ClassVar[str] = "vmamba"

    n_classes: int = 1000
    n_mels: int = 224
    n_frames: int = 224
    n_channels: Literal[1, 3] = 3
    patch: int = 4
    patch_norm: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patch_embed == "convs" and self.patch % 2:
            raise ConfigError(f"patch is {self.patch}; expected an even number with 'convs'")

    @property
    def min_side(self) -> int:
        """Rows and columns of input that are sure to leave something in the last stage."""
        side = 2 ** (len(self.depths) - 1) if self.downsample in ("merge-crop", "conv2") else 1
        return side * self.patch

    def build(self) -> "VMamba":
        """Make the model, with fresh weights."""
        return VMamba(self)


class PatchEmbed(nn.Module):
    """Cut a map into patches and project each.

    Args:
        n_channels: channels of the input.
        dim: channels of a patch.
        patch: its rows and columns.
        norm: whether a layer norm follows.
    """

    def __init__(self, n_channels: int, dim: int, patch: int, norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_channels, dim, patch, patch)
        self.norm1 = nn.LayerNorm(dim) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Project patches.

        Args:
            x: (batch, channels, rows, columns).

        Returns:
            (batch, rows, columns, dim), smaller by the patch.
        """
        out: Tensor = self.norm1(dense_conv(self.conv1, x).permute(0, 2, 3, 1))
        return out


class OverlappingPatchEmbed(nn.Module):
    """Reduce a map by two strided convolutions that overlap; arguments as of PatchEmbed."""

    def __init__(self, n_channels: int, dim: int, patch: int, norm: bool) -> None:
        super().__init__()
        stride, kernel = patch // 2, patch // 2 + 1
        self.conv1 = nn.Conv2d(n_channels, dim // 2, kernel, stride, padding=1)
        self.norm1 = nn.LayerNorm(dim // 2) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(dim // 2, dim, kernel, stride, padding=1)
        self.norm2 = nn.LayerNorm(dim) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Reduce the map; as of PatchEmbed."""
        x = self.norm1(dense_conv(self.conv1, x).permute(0, 2, 3, 1))
        x = dense_conv(self.conv2, F.gelu(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: Tensor = self.norm2(x)
        return out


def new_patch_embed(
    kind: str, n_channels: int, dim: int, *, patch: int = 4, norm: bool = True
) -> nn.Module:
    """The patch embedding of a kind of StagesConfig.patch_embed, with fresh weights."""
    cls = PatchEmbed if kind == "patch" else OverlappingPatchEmbed
    return cls(n_channels, dim, patch, norm)


class MLP(nn.Module):
    """Two linear layers, position by position.

    Args:
        dim: channels of the map.
        config: kind, width and activation.
    """

    def __init__(self, dim: int, config: MLPConfig) -> None:
        super().__init__()
        self.config = config
        hidden = int(dim * config.ratio)
        self.fc1 = new_linear(dim, hidden * (2 if config.kind == "gated" else 1))
        self.fc2 = new_linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each position; (batch, rows, columns, dim) in and out."""
        hidden = self.fc1(x)
        if self.config.kind == "gated":
            hidden, gate = hidden.chunk(2, dim=-1)
            hidden = hidden * activate(gate, self.config.activation)
        else:
            hidden = activate(hidden, self.config.activation)
        out: Tensor = self.fc2(hidden)
        return out


class VSSBlock(nn.Module):
    """SS2D and MLP, each behind a layer norm and beside a shortcut.

    Args:
        dim: channels of the map.
        config: of the model.
        drop_path: probability of dropping a branch of a sample, in training.
    """

    def __init__(self, dim: int, config: StagesConfig, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm = nn.LayerNorm(dim)
        self.op = SS2D(dim, config.ss2d)
        self.mlp = None
        if config.mlp is not None:
            self.norm2 = nn.LayerNorm(dim)
            self.mlp = MLP(dim, config.mlp)

    def forward(self, x: Tensor) -> Tensor:
        """Mix positions, then channels; (batch, rows, columns, dim) in and out."""
        rate = self.drop_path if self.training else 0.0
        x = x + drop_path(self.op(self.norm(x)), rate)
        if self.mlp is not None:
            x = x + drop_path(self.mlp(self.norm2(x)), rate)
        return x


class PatchMerging(nn.Module):
    """Halve a map by concatenating 2 by 2 neighbours, with a norm and a projection.

    Args:
        dim: channels of the map.
        new_dim: channels of the new map.
        crop: whether the last row or column of an odd side is dropped; else it is padded with 0.
    """

    def __init__(self, dim: int, new_dim: int, *, crop: bool) -> None:
        super().__init__()
        self.crop = crop
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = new_linear(4 * dim, new_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Halve the map; (batch, rows, columns, channels) in and out."""
        rows, columns = x.shape[1:3]
        if self.crop:
            x = x[:, : rows // 2 * 2, : columns // 2 * 2]
        else:
            x = F.pad(x, (0, 0, 0, columns % 2, 0, rows % 2))
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
        x = x.permute(0, 1, 3, 4, 2, 5).flatten(3)  # row fastest among the four neighbours
        out: Tensor = self.reduction(self.norm(x))
        return out


class ConvDownsample(nn.Module):
    """Halve a map by a strided convolution with a norm.

    Args:
        dim: channels of the map.
        new_dim: channels of the new map.
        kernel: rows and columns of the kernel: 2 without overlap, 3 with.
    """

    def __init__(self, dim: int, new_dim: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, new_dim, kernel, stride=2, padding=kernel - 2)
        self.norm = nn.LayerNorm(new_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Halve the map; (batch, rows, columns, channels) in and out."""
        out: Tensor = self.norm(dense_conv(self.conv, x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return out


class Stage(nn.Module):
    """Blocks on maps of one size, and what reduces the map for the next stage.

    Args:
        config: of the model.
        index: which stage.
    """

    def __init__(self, config: StagesConfig, index: int) -> None:
        super().__init__()
        dim = config.dims[index]
        self.blocks = nn.ModuleList(
            VSSBlock(dim, config, rate) for rate in config.drop_rates(index)
        )
        self.downsample = None
        if index + 1 < len(config.dims):
            self.downsample = _new_downsample(config.downsample, dim, config.dims[index + 1])

    def run_blocks(self, x: Tensor) -> Tensor:
        """Run the blocks; (batch, rows, columns, channels) in and out."""
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the blocks and reduce the map.

        Args:
            x: (batch, rows, columns, channels).

        Returns:
            The blocks' output, and the next stage's input: half as large, or the same after the
            last stage.
        """
        x = self.run_blocks(x)
        return x, x if self.downsample is None else self.downsample(x)


def run_stages(stages: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """Run all stages.

    Args:
        stages: of kind Stage.
        x: (batch, rows, columns, channels), the embedded patches.

    Returns:
        The output of each stage's blocks, in the same layout.
    """
    maps = []
    for stage in stages:
        blocks_output, x = stage(x)
        maps.append(blocks_output)
    return maps


class VMamba(HierarchicalModel):
    """VMamba.

    Args:
        config: its settings.
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

    def _maps(self, features: Tensor) -> list[Tensor]:
        config = self.config
        x = as_map(features, config.n_channels, config.n_mels)
        if min(x.shape[2:]) < config.min_side:
            raise ConfigError(
                f"features have {x.shape[2]} rows and {x.shape[3]} columns; "
                f"expected at least {config.min_side} of each"
            )
        return run_stages(self.layers, self.patch_embed(x))

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
        maps = enumerate(self._maps(features))
        return [FeatureMap(x.permute(0, 3, 1, 2), self.config.patch * 2**n) for n, x in maps]

    def tokens(self, features: Tensor) -> Tensor:
        """Encode features as a sequence of tokens.

        Args:
            features: as for forward_intermediates.

        Returns:
            (batch, tokens, dim), the last stage's positions row by row, after the last norm.

        Raises:
            ConfigError: as for forward_intermediates.
        """
        out: Tensor = self.norm(self._maps(features)[-1].flatten(1, 2))
        return out

    def embed(self, features: Tensor) -> Tensor:
        """Encode features as one vector per clip or image.

        Args:
            features: as for forward_intermediates.

        Returns:
            (batch, dim), the mean of the tokens.
        """
        return self.tokens(features).mean(dim=1)


def _new_downsample(kind: str, dim: int, new_dim: int) -> nn.Module:
    if kind in ("merge", "merge-crop"):
        return PatchMerging(dim, new_dim, crop=kind == "merge-crop")
    return ConvDownsample(dim, new_dim, kernel=2 if kind == "conv2" else 3)
