"""What the heads read: the maps of a hierarchical model's stages, or of a plain model's blocks."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from audiomamba.errors import ConfigError
from audiomamba.models import AST, HierarchicalModel, ModelConfig, Vim
from audiomamba.models.layers.patches import patch_grid
from audiomamba.models.layers.sequence import Layout

__all__ = ["Backbone", "BlockBackbone", "BlockFeature", "StageBackbone"]

BlockFeature = Literal["stream", "branch"]


class Backbone(nn.Module, ABC):
    """A model without its head, that gives maps.

    Attributes:
        dims: channels of the maps.
        strides: pixels of the image per row or column of the maps.
    """

    dims: tuple[int, ...]
    strides: tuple[int, ...]

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode images (batch, 3, height, width), or features (batch, frames, mels), as maps.

        Returns:
            (batch, channels, rows, columns) each.
        """


class StageBackbone(Backbone):
    """The stages of a hierarchical model, each map normed.

    Args:
        config: the model's settings.

    Raises:
        ConfigError: the model has no stages.

    Examples:
        >>> from audiomamba.models import MambaOutConfig
        >>> config = MambaOutConfig(depths=(1, 1), dims=(8, 16), n_channels=3)
        >>> backbone = StageBackbone(config)
        >>> [tuple(x.shape) for x in backbone(torch.zeros(1, 3, 64, 96))]
        [(1, 8, 16, 24), (1, 16, 8, 12)]
        >>> backbone.dims, backbone.strides
        ((8, 16), (4, 8))
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        model = config.build()
        if not isinstance(model, HierarchicalModel):
            raise ConfigError(f"{config.family} has no stages; choose blocks of it instead")
        self.dims, self.strides = _stages_of(config)
        self.model = _without(model, "norm", "head_fc", "head_norm", "head")
        self.norms = nn.ModuleList(nn.LayerNorm(dim, eps=1e-6) for dim in self.dims)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode images as one map per stage, the finest first; as of Backbone."""
        stages = self.model.forward_intermediates(images)
        return [
            norm(stage.map.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            for norm, stage in zip(self.norms, stages, strict=True)
        ]


class BlockBackbone(Backbone):
    """Some blocks of a Vim or a vision transformer, as maps of one size.

    Args:
        config: the model's settings, for the size of the images.
        blocks: after which blocks, counted from 1.
        feature: "stream", what the blocks after this one read, or "branch", what this block of a
            Vim adds to it.

    Raises:
        ConfigError: the model is of another kind, has fewer blocks, or has no branch to read.

    Examples:
        >>> from audiomamba.models import VimConfig
        >>> config = VimConfig(dim=16, depth=4, n_mels=64, n_frames=96, class_token="none")
        >>> backbone = BlockBackbone(config, blocks=(2, 4))
        >>> [tuple(x.shape) for x in backbone(torch.zeros(1, 3, 64, 96))]
        [(1, 16, 4, 6), (1, 16, 4, 6)]
    """

    def __init__(
        self, config: ModelConfig, *, blocks: Sequence[int], feature: BlockFeature = "stream"
    ) -> None:
        super().__init__()
        model = config.build()
        if not isinstance(model, Vim | AST):
            raise ConfigError(f"{config.family} has no blocks to choose from; expected vim or ast")
        layers = model.layers if isinstance(model, Vim) else model.blocks
        if not blocks or max(blocks) > len(layers) or min(blocks) < 1:
            raise ConfigError(f"blocks are {tuple(blocks)}; the model has 1 to {len(layers)}")
        if feature == "branch" and not isinstance(model, Vim):
            raise ConfigError("feature is 'branch'; only a Vim's blocks keep it apart")
        self.blocks, self.feature = tuple(blocks), feature
        self.model = _without(model, "head")
        last_norm = model.norm_f if isinstance(model, Vim) else model.norm
        last_norm.requires_grad_(False)  # it is passed, but nothing reads what it gives
        stride = self._stride[0]
        self.dims = (model.config.dim,) * len(blocks)
        self.strides = (stride,) * len(blocks)

    @property
    def _stride(self) -> tuple[int, int]:
        stride: tuple[int, int] = self.model.config.stride or self.model.config.patch
        return stride

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode images as one map per chosen block; as of Backbone."""
        with self._outputs() as outputs:
            self.model.tokens(images)
        size = (images.shape[2], images.shape[3])
        grid = patch_grid(size, self.model.config.patch, self._stride)
        return [self._map(outputs[index], grid).permute(0, 3, 1, 2) for index in self.blocks]

    def _map(self, output: Any, grid: tuple[int, int]) -> Tensor:
        """A block's tokens as (batch, rows, columns, dim), without class tokens."""
        if isinstance(self.model, AST):
            patches: Tensor = output[:, self.model.config.n_class_tokens :].unflatten(1, grid)
            return patches
        hidden, residual = output
        tokens = hidden if self.feature == "branch" else hidden + residual
        return Layout(grid, "frequency", self.model.config.class_token, None).split(tokens)

    @contextmanager
    def _outputs(self) -> Iterator[dict[int, Any]]:
        """What the chosen blocks give while this lasts."""
        layers = self.model.layers if isinstance(self.model, Vim) else self.model.blocks
        found: dict[int, Any] = {}

        def keep(index: int) -> Any:
            def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
                found[index] = output

            return hook

        handles = [layers[index - 1].register_forward_hook(keep(index)) for index in self.blocks]
        try:
            yield found
        finally:
            for handle in handles:
                handle.remove()


def _without(model: Any, *names: str) -> Any:
    """The model without what comes after its last map."""
    for name in names:
        if hasattr(model, name):
            delattr(model, name)
    return model


def _stages_of(config: ModelConfig) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Channels and strides of a hierarchical model's stages, found without memory."""
    with torch.device("meta"), torch.inference_mode():
        model = config.build()
        shape = (
            (1, config.n_frames, config.n_mels)
            if config.reads_sound
            else (1, 3, config.n_mels, config.n_frames)
        )
        stages = model.forward_intermediates(torch.zeros(shape))  # type: ignore[operator]
    return tuple(s.map.shape[1] for s in stages), tuple(s.stride for s in stages)
