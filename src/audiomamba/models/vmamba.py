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

from audiomamba.config import check
from audiomamba.errors import ConfigError
from audiomamba.models.base import (
    FeatureMap,
    FrameSteps,
    HierarchicalModel,
    ModelConfig,
    as_map,
    check_features,
    drop_path,
    new_head,
)
from audiomamba.models.layers.downsample import new_downsample, new_patch_embed
from audiomamba.models.layers.padding import fitted, mean_inside, refuse_lengths
from audiomamba.models.layers.ss2d import SS2D, Activation, SS2DConfig, activate, new_linear

__all__ = [
    "MLPConfig",
    "Stage",
    "StagesConfig",
    "VMamba",
    "VMambaConfig",
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
        check(self)


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
    one_pass: ClassVar[bool] = True

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

    def forward(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Mix positions, then channels; as of SS2D."""
        rate = self.drop_path if self.training else 0.0
        x = x + drop_path(self.op(self.norm(x), columns), rate)
        if self.mlp is not None:
            x = x + drop_path(self.mlp(self.norm2(x)), rate)
        return x


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
            self.downsample = new_downsample(config.downsample, dim, config.dims[index + 1])

    def run_blocks(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Run the blocks; as of SS2D."""
        for block in self.blocks:
            x = block(x, columns)
        return x

    def forward(
        self, x: Tensor, columns: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run the blocks and reduce the map.

        Args:
            x: (batch, rows, columns, channels).
            columns: (batch,) columns of each clip; None for all.

        Returns:
            The blocks' output; the next stage's input, half as large, or the same after the last
            stage; and each clip's columns of that.
        """
        x = self.run_blocks(x, columns)
        if self.downsample is None:
            return x, x, columns
        return x, *self.downsample(x, columns)


def run_stages(
    stages: nn.ModuleList, x: Tensor, columns: Tensor | None = None
) -> tuple[list[Tensor], Tensor | None]:
    """Run all stages.

    Args:
        stages: of kind Stage.
        x: (batch, rows, columns, channels), the embedded patches.
        columns: (batch,) columns of each clip; None for all.

    Returns:
        The output of each stage's blocks, in the same layout, and each clip's columns of the last.
    """
    maps = []
    for stage in stages:
        blocks_output, x, columns = stage(x, columns)
        maps.append(blocks_output)
    return maps, columns


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

    def _maps(self, features: Tensor, lengths: Tensor | None) -> tuple[list[Tensor], Tensor | None]:
        """Each stage's map (batch, rows, columns, dim), and the last one's columns per clip."""
        config = self.config
        if config.n_channels == 3:
            refuse_lengths(lengths, "images have none")
        else:
            check_features(features, config.n_mels)
            features, lengths = fitted(features, lengths, shortest=config.min_side)
        x = as_map(features, config.n_channels, config.n_mels)
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
            shorter clip has behind its own columns means nothing.

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
        return mean_inside(last.mean(dim=1), columns)

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
            The columns; the last may be filled in part only, or frames behind it left out.
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
        """The last map behind the norm, and each clip's columns."""
        maps, columns = self._maps(features, lengths)
        return self.norm(maps[-1]), columns
