"""VMamba's stages: blocks of SS2D and an MLP on maps of falling size.

Source: Liu et al., "VMamba: Visual State Space Model" (2024), section 4.1.
"""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from audiomamba.config import check
from audiomamba.errors import ConfigError
from audiomamba.models.base import ModelConfig
from audiomamba.models.layers.downsample import new_downsample
from audiomamba.models.layers.drop_path import drop_path, drop_rates
from audiomamba.models.layers.ss2d import SS2D, Activation, SS2DConfig, activate, new_linear

__all__ = [
    "MLP",
    "MLPConfig",
    "Stage",
    "StagesConfig",
    "VSSBlock",
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

    Examples:
        >>> MLPConfig(kind="gated", ratio=2.0).activation
        'gelu'
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
        return drop_rates(self.drop_path, sum(self.depths))[before : before + self.depths[stage]]


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
    """SS2D and MLP, each after a layer norm and beside a shortcut.

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
