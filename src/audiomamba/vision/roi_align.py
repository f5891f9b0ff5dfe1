"""RoIAlign: cut boxes of any size out of feature maps, as maps of one size."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["pyramid_roi_align", "roi_align"]

SAMPLES = 2  # per cell and direction
COARSEST_SIDE = 56.0  # sides of boxes below twice this are read from the finest map


def roi_align(feature_map: Tensor, boxes: Tensor, scale: float, size: int) -> Tensor:
    """Read boxes from one image's feature map.

    Each box is cut into size by size cells, and the map is read at two by two points in each,
    bilinearly; the points' mean is the cell's value. Points more than one pixel outside of the map
    count as 0.

    Args:
        feature_map: (channels, rows, columns).
        boxes: (n, 4) in pixels of the image.
        scale: rows or columns of the map per pixel of the image.
        size: rows and columns of the result.

    Returns:
        (n, channels, size, size).

    Source: He et al., "Mask R-CNN" (2017), section 3; half a pixel is taken off, as in later code.

    Examples:
        >>> ramp = torch.arange(8.0).expand(1, 8, 8)  # a pixel's value is its column
        >>> roi_align(ramp, torch.tensor([[2.0, 2.0, 6.0, 6.0]]), 1.0, 2)[0, 0]
        tensor([[2.5000, 4.5000],
                [2.5000, 4.5000]])
    """
    rows, columns = feature_map.shape[1:]
    n_points = size * SAMPLES
    steps = (torch.arange(n_points, device=boxes.device, dtype=boxes.dtype) + 0.5) / n_points
    left, top, right, bottom = (boxes * scale).unbind(dim=1)
    x = left[:, None] + (right - left)[:, None] * steps  # (n, points)
    y = top[:, None] + (bottom - top)[:, None] * steps
    # All boxes of an image are one grid of points, so that the map is not repeated for each.
    grid = torch.stack(
        [
            (x / columns * 2 - 1)[:, None, :].expand(-1, n_points, -1),
            (y / rows * 2 - 1)[:, :, None].expand(-1, -1, n_points),
        ],
        dim=-1,
    ).flatten(0, 1)
    read = F.grid_sample(
        feature_map[None], grid[None].to(feature_map.dtype), "bilinear", "border", False
    )[0]
    read = read.unflatten(1, (len(boxes), n_points)).transpose(0, 1)
    inside_x = (x >= -0.5) & (x <= columns + 0.5)
    inside_y = (y >= -0.5) & (y <= rows + 0.5)
    read = read * (inside_y[:, :, None] & inside_x[:, None, :])[:, None]
    return F.avg_pool2d(read, SAMPLES)


def pyramid_roi_align(
    maps: Sequence[Tensor], strides: Sequence[int], boxes: Sequence[Tensor], size: int
) -> Tensor:
    """Read boxes from the map of a pyramid that suits their size.

    Args:
        maps: (batch, channels, rows, columns) each, the finest first.
        strides: pixels of the image per row or column of each map.
        boxes: (n, 4) per image, in pixels.
        size: rows and columns of the result.

    Returns:
        (all boxes, channels, size, size), image after image.

    Source: Lin et al., "Feature Pyramid Networks" (2017), equation 1.

    Examples:
        >>> maps = [torch.ones(1, 3, 16, 16), torch.full((1, 3, 8, 8), 2.0)]
        >>> boxes = [torch.tensor([[0.0, 0.0, 32.0, 32.0], [0.0, 0.0, 120.0, 120.0]])]
        >>> pyramid_roi_align(maps, [8, 16], boxes, 7).mean(dim=(1, 2, 3)).tolist()
        [1.0, 2.0]
    """
    n_boxes = [len(of_image) for of_image in boxes]
    out = maps[0].new_zeros(sum(n_boxes), maps[0].shape[1], size, size)
    first = 0
    for image, of_image in enumerate(boxes):
        sides = (of_image[:, 2:] - of_image[:, :2]).clamp(min=0).prod(dim=1).sqrt()
        levels = (sides / COARSEST_SIDE + 1e-6).log2().floor().clamp(0, len(maps) - 1)
        for level, (one_map, stride) in enumerate(zip(maps, strides, strict=True)):
            (of_level,) = torch.where(levels == level)
            if len(of_level):
                read = roi_align(one_map[image], of_image[of_level], 1 / stride, size)
                out = out.index_put((of_level + first,), read.to(out.dtype))
        first += n_boxes[image]
    return out
