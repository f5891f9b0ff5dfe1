"""MambaOut: what is left of a Mamba model without its state space model.

The block is Mamba's without the scan: a gated convolution network. Half of the expanded channels
gate the other half, and of that half some channels pass a depthwise convolution, the only mixing of
positions. Four stages halve the map one after the other; the mean of the last map feeds a small
perceptron. It is the control of every scan model: what it reaches, the scan did not bring.

Source: Yu and Wang, "MambaOut: Do We Really Need Mamba for Vision?" (2024), section 4.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.errors import ConfigError
from audiomamba.models.base import FrameSteps, new_head
from audiomamba.models.layers.conv import conv_output_length
from audiomamba.models.layers.drop_path import drop_path, drop_rates
from audiomamba.models.layers.input_map import as_map
from audiomamba.models.layers.vision import FeatureMap, HierarchicalModel, VisionConfig
from audiomamba.ops import Linear
from audiomamba.ops.padding import mask_padding, masked_mean

__all__ = ["MODELS", "GatedCNNBlock", "MambaOut", "MambaOutConfig"]

NORM_EPS = 1e-6
STEM_STRIDE = 4
HEAD_RATIO = 4


@dataclass(frozen=True, kw_only=True)
class MambaOutConfig(VisionConfig):
    """Settings of MambaOut; the defaults are MambaOut-Tiny for sound.

    Args:
        depths: blocks of each stage.
        dims: channels of each stage.
        expand_ratio: gated channels per channel of a block.
        conv_ratio: channels that are convolved, per channel of a block.
        kernel: side of the depthwise convolution's window; odd.
        drop_path: highest probability of dropping a block's branch in training; grows linearly with
            depth.

    Raises:
        ConfigError: depths and dims differ in length, a block would convolve more channels than it
            gates, or the kernel is even.

    Examples:
        >>> MambaOutConfig().for_images().n_classes
        1000
    """

    family: ClassVar[str] = "mambaout"
    any_length: ClassVar[bool] = True
    one_pass: ClassVar[bool] = True

    depths: tuple[int, ...] = (3, 3, 9, 3)
    dims: tuple[int, ...] = (96, 192, 384, 576)
    expand_ratio: float = 8 / 3
    conv_ratio: float = 1.0
    kernel: int = 7
    drop_path: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.depths) != len(self.dims):
            raise ConfigError(
                f"depths {self.depths} and dims {self.dims} differ in length; "
                "expected one of each per stage"
            )
        if not 0 < self.conv_ratio <= self.expand_ratio:
            raise ConfigError(
                f"conv_ratio is {self.conv_ratio}; "
                f"expected above 0 and at most expand_ratio, {self.expand_ratio}"
            )
        if self.kernel % 2 == 0:
            raise ConfigError(f"kernel is {self.kernel}; expected an odd number")

    @property
    def weights_from(self) -> str | None:
        """Whose released weights fit: there are some for images only."""
        return None if self.reads_sound else "MambaOut"

    def build(self) -> "MambaOut":
        """Make the model, with fresh weights."""
        return MambaOut(self)


class Stem(nn.Module):
    """Shrink the input fourfold each way.

    Args:
        n_channels: channels of the input.
        dim: channels of the output.
    """

    def __init__(self, n_channels: int, dim: int) -> None:
        super().__init__()
        self.conv1 = _halving_conv(n_channels, dim // 2)
        self.norm1 = nn.LayerNorm(dim // 2, eps=NORM_EPS)
        self.conv2 = _halving_conv(dim // 2, dim)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, image: Tensor, columns: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Shrink a map.

        Args:
            image: (batch, channels, rows, columns).
            columns: (batch,) columns of each clip; None for all.

        Returns:
            (batch, rows, columns, dim), and each clip's columns.
        """
        x = self.norm1(self.conv1(mask_padding(image, columns, dim=3)).permute(0, 2, 3, 1))
        columns = conv_output_length(self.conv1, columns)
        x = self.conv2(mask_padding(F.gelu(x), columns, dim=2).permute(0, 3, 1, 2))
        out: Tensor = self.norm2(x.permute(0, 2, 3, 1))
        return out, conv_output_length(self.conv2, columns)


class Downsample(nn.Module):
    """Halve the map each way.

    Args:
        dim: channels of the input.
        new_dim: channels of the output.
    """

    def __init__(self, dim: int, new_dim: int) -> None:
        super().__init__()
        self.conv = _halving_conv(dim, new_dim)
        self.norm = nn.LayerNorm(new_dim, eps=NORM_EPS)

    def forward(self, x: Tensor, columns: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Halve a map (batch, rows, columns, channels); as of Stem."""
        x = self.conv(mask_padding(x, columns, dim=2).permute(0, 3, 1, 2))
        out: Tensor = self.norm(x.permute(0, 2, 3, 1))
        return out, conv_output_length(self.conv, columns)


class GatedCNNBlock(nn.Module):
    """A gated linear unit with a depthwise convolution of some of its channels.

    Args:
        dim: channels of the model.
        expand_ratio: gated channels per channel of the model.
        conv_ratio: convolved channels per channel of the model.
        kernel: side of the convolution's window.
        drop_path: probability of dropping the branch of a sample, in training.

    Source: Yu and Wang 2024, figure 4b.
    """

    def __init__(
        self, dim: int, *, expand_ratio: float, conv_ratio: float, kernel: int, drop_path: float
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        n_gated, n_convolved = int(expand_ratio * dim), int(conv_ratio * dim)
        self.sizes = [n_gated - n_convolved, n_convolved]
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.fc1 = Linear(dim, 2 * n_gated)
        self.conv = nn.Conv2d(
            n_convolved, n_convolved, kernel, padding=kernel // 2, groups=n_convolved
        )
        self.fc2 = Linear(n_gated, dim)

    def forward(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Mix a map.

        Args:
            x: (batch, rows, columns, dim).
            columns: (batch,) columns of each clip; None for all.

        Returns:
            (batch, rows, columns, dim).
        """
        gate, kept, moved = self.fc1(self.norm(x)).split([sum(self.sizes), *self.sizes], dim=-1)
        gate_kept, gate_moved = F.gelu(gate).split(self.sizes, dim=-1)
        # Channels that lie apart in memory would slow the convolution and its gradient down: the
        # copy makes them dense, and gating before joining gives them a dense gradient.
        moved = mask_padding(moved.contiguous(), columns, dim=2)
        moved = self.conv(moved.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        branch = self.fc2(torch.cat([gate_kept * kept, gate_moved * moved], dim=-1))
        return x + drop_path(branch, self.drop_path if self.training else 0.0)


class Stage(nn.Sequential):
    """Blocks on maps of one size."""

    def forward(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Run the blocks in turn; as of GatedCNNBlock."""
        for block in self:
            x = block(x, columns)
        return x


class MambaOut(HierarchicalModel):
    """MambaOut.

    Args:
        config: its settings.

    Examples:
        >>> model = MambaOutConfig(depths=(1, 1), dims=(8, 16), n_classes=10).build()
        >>> [stage.map.shape for stage in model.forward_intermediates(torch.zeros(1, 100, 128))]
        [torch.Size([1, 8, 32, 25]), torch.Size([1, 16, 16, 13])]
    """

    config: MambaOutConfig

    def __init__(self, config: MambaOutConfig) -> None:
        super().__init__(config)
        dims, last = config.dims, config.dims[-1]
        self.downsample_layers = nn.ModuleList([Stem(config.n_channels, dims[0])])
        self.downsample_layers.extend(Downsample(dim, new) for dim, new in pairwise(dims))
        rates = iter(drop_rates(config.drop_path, sum(config.depths)))
        self.stages = nn.ModuleList(
            Stage(
                *(
                    GatedCNNBlock(
                        dim,
                        expand_ratio=config.expand_ratio,
                        conv_ratio=config.conv_ratio,
                        kernel=config.kernel,
                        drop_path=next(rates),
                    )
                    for _ in range(depth)
                )
            )
            for dim, depth in zip(dims, config.depths, strict=True)
        )
        self.norm = nn.LayerNorm(last, eps=NORM_EPS)
        self.head_fc = Linear(last, HEAD_RATIO * last)
        self.head_norm = nn.LayerNorm(HEAD_RATIO * last, eps=NORM_EPS)
        self.head = new_head(HEAD_RATIO * last, config.n_classes)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # each has one
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs

    def forward_intermediates(self, features: Tensor) -> list[FeatureMap]:
        """Encode features as one map per stage.

        Args:
            features: (batch, frames, mels) of any number of frames; or images (batch, 3, height,
                width) of any size, if the config says so.

        Returns:
            The stages' outputs, the largest map first: of n rows or columns of the input each has
            n / stride, rounded up, as all convolutions pad. The last of them then stands for less
            of the input than the others.

        Raises:
            ConfigError: the features have another number of channels or mel bands.
        """
        maps, _ = self._stages(features, None)
        return [
            FeatureMap(x.permute(0, 3, 1, 2), STEM_STRIDE * 2**stage)
            for stage, x in enumerate(maps)
        ]

    def _stages(
        self, features: Tensor, lengths: Tensor | None
    ) -> tuple[list[Tensor], Tensor | None]:
        """Each stage's map (batch, rows, columns, dim), and the last one's columns per clip."""
        x, columns = as_map(features, lengths, self.config)
        maps = []
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x, columns = downsample(x, columns)
            x = stage(x, columns)
            maps.append(x)
        return maps, columns

    def tokens(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as a sequence of tokens.

        Args:
            features: as for forward_intermediates.
            lengths: (batch,) frames of each clip, integers, for features; None for all frames of
                all clips.

        Returns:
            (batch, tokens, dim), the last stage's map, row of frequency after row. The model's norm
            comes after the mean, so that these are not normed. What a shorter clip has after its
            own columns means nothing.
        """
        return self._stages(features, lengths)[0][-1].flatten(1, 2)

    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per clip.

        Args:
            features: as for forward_intermediates.
            lengths: as for tokens.

        Returns:
            (batch, 4 * dim), the head's hidden layer.
        """
        maps, columns = self._stages(features, lengths)
        return self._hidden(masked_mean(maps[-1].mean(dim=1), columns))

    def frame_embeddings(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode features as one vector per column of the last map.

        Args:
            features: as for forward_intermediates.
            lengths: as for tokens.

        Returns:
            (batch, columns, 4 * dim), the head's hidden layer for the mean of each column.
        """
        return self._hidden(self._stages(features, lengths)[0][-1].mean(dim=1))

    def frame_steps(self, n_frames: int) -> FrameSteps:
        """Say how a clip is divided into columns of the last map.

        Args:
            n_frames: frames of the clip.

        Returns:
            The columns; the last may be filled in part only.
        """
        stride = STEM_STRIDE * 2 ** (len(self.config.dims) - 1)
        return FrameSteps(-(-n_frames // stride), stride)

    def _hidden(self, pooled: Tensor) -> Tensor:
        """The head's hidden layer; (..., dim) to (..., 4 * dim)."""
        out: Tensor = self.head_norm(F.gelu(self.head_fc(self.norm(pooled))))
        return out


def _halving_conv(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, stride=2, padding=1)


SIZES = {
    "base": MambaOutConfig(depths=(3, 4, 27, 3), dims=(128, 256, 512, 768), drop_path=0.6),
    "femto": MambaOutConfig(dims=(48, 96, 192, 288), drop_path=0.025),
    "kobe": MambaOutConfig(depths=(3, 3, 15, 3), dims=(48, 96, 192, 288), drop_path=0.025),
    "small": MambaOutConfig(depths=(3, 4, 27, 3), drop_path=0.4),
    "tiny": MambaOutConfig(),
}
MODELS = {f"mambaout_{size}": config for size, config in SIZES.items()}
MODELS |= {f"mambaout_{size}_224": config.for_images() for size, config in SIZES.items()}
