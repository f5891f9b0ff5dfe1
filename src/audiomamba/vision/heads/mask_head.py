"""The mask head: which pixels of a box belong to its object.

Source: He, Gkioxari, Dollar, Girshick, "Mask R-CNN" (2017), section 3.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.vision.heads.layers import ChannelNorm, conv_norm
from audiomamba.vision.roi_align import roi_align

__all__ = ["MASK_SIZE", "MaskHead", "mask_loss", "paste_masks"]

MASK_SIZE = 14  # rows and columns that are read of each box; the mask is twice as large


class MaskHead(nn.Module):
    """Score the pixels of boxes, for each class by itself.

    Args:
        dim: channels of the pyramid.
        n_classes: classes of objects.
        norm: norm each convolution.

    Examples:
        >>> MaskHead(8, n_classes=3, norm=False)(torch.zeros(5, 8, 14, 14)).shape
        torch.Size([5, 3, 28, 28])
    """

    def __init__(self, dim: int, *, n_classes: int, norm: bool) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(self._conv(dim, norm) for _ in range(4)))
        self.enlarge = nn.ConvTranspose2d(dim, dim, 2, 2)
        self.classify = nn.Conv2d(dim, n_classes, 1)
        nn.init.normal_(self.classify.weight, std=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Score pixels of boxes (boxes, dim, 14, 14): logits (boxes, classes, 28, 28)."""
        logits: Tensor = self.classify(F.relu(self.enlarge(self.convs(x))))
        return logits

    @staticmethod
    def _conv(dim: int, norm: bool) -> nn.Module:
        if norm:
            return conv_norm(dim, dim, 3, ChannelNorm)
        return nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1), nn.ReLU())


def mask_loss(
    logits: Tensor, boxes: Sequence[Tensor], classes: Tensor, masks: Sequence[Tensor]
) -> Tensor:
    """Binary cross entropy of the masks of the boxes' own classes.

    Args:
        logits: (all boxes, classes, 28, 28).
        boxes: (n, 4) per image.
        classes: (all boxes,) integers.
        masks: (n, height, width) per image, the true mask of each box's object.

    Returns:
        The mean over pixels and boxes; 0 if there are none.
    """
    if not len(classes):
        return logits.sum() * 0.0
    size = logits.shape[-1]
    truth = torch.cat(
        [
            torch.cat(
                [
                    roi_align(mask[None].float(), box[None], 1.0, size)[:, 0]
                    for box, mask in zip(of_image, of_image_masks, strict=True)
                ]
            )
            if len(of_image)
            else logits.new_zeros(0, size, size)
            for of_image, of_image_masks in zip(boxes, masks, strict=True)
        ]
    )
    own = logits[torch.arange(len(classes), device=logits.device), classes]
    return F.binary_cross_entropy_with_logits(own, (truth >= 0.5).to(own.dtype))


def paste_masks(scores: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Put masks of boxes back into the image.

    Args:
        scores: (n, rows, columns) from 0 to 1.
        boxes: (n, 4) in pixels.
        size: (height, width) of the image.

    Returns:
        (n, height, width) bool: where the score is at least one half.

    Examples:
        >>> paste_masks(torch.ones(1, 28, 28), torch.tensor([[1.0, 0.0, 3.0, 2.0]]), (2, 4)).int()
        tensor([[[0, 1, 1, 0],
                 [0, 1, 1, 0]]], dtype=torch.int32)
    """
    height, width = size
    out = torch.zeros(len(scores), height, width, dtype=torch.bool, device=scores.device)
    y = torch.arange(height, device=scores.device) + 0.5
    x = torch.arange(width, device=scores.device) + 0.5
    for index, (score, box) in enumerate(zip(scores, boxes, strict=True)):
        left, top, right, bottom = box.tolist()
        across = (x - left) / max(right - left, 1e-6) * 2 - 1
        down = (y - top) / max(bottom - top, 1e-6) * 2 - 1
        grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
        read = F.grid_sample(score[None, None], grid[None], "bilinear", "border", False)[0, 0]
        within = (down.abs() <= 1)[:, None] & (across.abs() <= 1)[None]
        out[index] = (read >= 0.5) & within
    return out
