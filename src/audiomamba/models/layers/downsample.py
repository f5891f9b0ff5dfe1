"""How VMamba's maps become smaller: the patch embedding, and what stands between two stages.

Source: Liu et al., "VMamba: Visual State Space Model" (2024), section 4.1, and the released code.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.models.layers.conv import conv_output_length
from audiomamba.models.layers.ss2d import dense_conv, new_linear
from audiomamba.ops.padding import mask_padding

__all__ = [
    "ConvDownsample",
    "OverlappingPatchEmbed",
    "PatchEmbed",
    "PatchMerging",
    "new_downsample",
    "new_patch_embed",
]


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

    def forward(self, x: Tensor, columns: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Project patches.

        Args:
            x: (batch, channels, rows, columns).
            columns: (batch,) columns of each clip; None for all.

        Returns:
            (batch, rows, columns, dim), smaller by the patch, and each clip's columns of it.
        """
        x = dense_conv(self.conv1, mask_padding(x, columns, dim=3))
        return self.norm1(x.permute(0, 2, 3, 1)), conv_output_length(self.conv1, columns)


class OverlappingPatchEmbed(nn.Module):
    """Reduce a map by two strided convolutions that overlap; arguments as of PatchEmbed."""

    def __init__(self, n_channels: int, dim: int, patch: int, norm: bool) -> None:
        super().__init__()
        stride, kernel = patch // 2, patch // 2 + 1
        self.conv1 = nn.Conv2d(n_channels, dim // 2, kernel, stride, padding=1)
        self.norm1 = nn.LayerNorm(dim // 2) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(dim // 2, dim, kernel, stride, padding=1)
        self.norm2 = nn.LayerNorm(dim) if norm else nn.Identity()

    def forward(self, x: Tensor, columns: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Reduce the map; as of PatchEmbed."""
        x = dense_conv(self.conv1, mask_padding(x, columns, dim=3))
        x = F.gelu(self.norm1(x.permute(0, 2, 3, 1)))
        columns = conv_output_length(self.conv1, columns)
        x = dense_conv(self.conv2, mask_padding(x, columns, dim=2).permute(0, 3, 1, 2))
        return self.norm2(x.permute(0, 2, 3, 1)), conv_output_length(self.conv2, columns)


def new_patch_embed(
    kind: str, n_channels: int, dim: int, *, patch: int = 4, norm: bool = True
) -> nn.Module:
    """The patch embedding of a kind of StagesConfig.patch_embed, with fresh weights."""
    cls = PatchEmbed if kind == "patch" else OverlappingPatchEmbed
    return cls(n_channels, dim, patch, norm)


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

    def forward(self, x: Tensor, columns: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Halve the map.

        Args:
            x: (batch, rows, columns, channels).
            columns: (batch,) columns of each clip; None for all.

        Returns:
            The smaller map, in the same layout, and each clip's columns of it.
        """
        n_rows, n_columns = x.shape[1:3]
        if self.crop:
            x = x[:, : n_rows // 2 * 2, : n_columns // 2 * 2]
        else:
            x = F.pad(mask_padding(x, columns, dim=2), (0, 0, 0, n_columns % 2, 0, n_rows % 2))
        if columns is not None:
            columns = (columns if self.crop else columns + 1) // 2
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
        x = x.permute(0, 1, 3, 4, 2, 5).flatten(3)  # row fastest among the four neighbours
        return self.reduction(self.norm(x)), columns


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

    def forward(self, x: Tensor, columns: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Halve the map; as of PatchMerging."""
        x = dense_conv(self.conv, mask_padding(x, columns, dim=2).permute(0, 3, 1, 2))
        return self.norm(x.permute(0, 2, 3, 1)), conv_output_length(self.conv, columns)


def new_downsample(kind: str, dim: int, new_dim: int) -> nn.Module:
    """What halves a map, of a kind of StagesConfig.downsample, with fresh weights."""
    if kind in ("merge", "merge-crop"):
        return PatchMerging(dim, new_dim, crop=kind == "merge-crop")
    return ConvDownsample(dim, new_dim, kernel=2 if kind == "conv2" else 3)
