"""The region proposal network: boxes that may hold an object, of any class.

Source: Ren, He, Girshick, Sun, "Faster R-CNN" (2015), section 3; on a pyramid as in Lin et al.,
"Feature Pyramid Networks" (2017), section 4.1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomamba.vision import boxes as box_ops
from audiomamba.vision.heads.matching import match, sample
from audiomamba.vision.records import Instances

__all__ = ["RPN"]

SIDE_PER_STRIDE = 8
RATIOS = (0.5, 1.0, 2.0)  # height over width
N_SAMPLED, OBJECT_SHARE = 256, 0.5
AT_LEAST, BELOW = 0.7, 0.3
KEPT_PER_LEVEL = {True: 2, False: 1}  # times the proposals; in training, and when used
NMS_LIMIT = 0.7


class RPN(nn.Module):
    """Propose boxes on a pyramid.

    Args:
        dim: channels of the pyramid.
        n_convs: convolutions before the two outputs.
        strides: pixels of the image per row or column of each level.
        n_proposals: boxes that are proposed per image at most.

    Examples:
        >>> rpn = RPN(8, 1, (4, 8), 100).eval()
        >>> proposals, losses = rpn([torch.zeros(1, 8, 8, 8), torch.zeros(1, 8, 4, 4)], [(32, 32)])
        >>> proposals[0].shape[1], losses
        (4, {})
    """

    def __init__(self, dim: int, n_convs: int, strides: Sequence[int], n_proposals: int) -> None:
        super().__init__()
        self.n_proposals = n_proposals
        self.strides = tuple(strides)
        self.convs = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in range(n_convs))
        self.objectness = nn.Conv2d(dim, len(RATIOS), 1)
        self.deltas = nn.Conv2d(dim, 4 * len(RATIOS), 1)
        for conv in [*self.convs, self.objectness, self.deltas]:
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(conv.bias)

    def forward(
        self,
        levels: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Instances] | None = None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Propose boxes.

        Args:
            levels: (batch, dim, rows, columns) each.
            sizes: (height, width) of each image, without what it was padded with.
            targets: the objects of each image, to learn from; None to propose only.

        Returns:
            (n, 4) boxes per image, without gradient; and the losses by name.
        """
        scores, deltas = self.score(levels)
        anchors = [
            anchors_of(level, stride) for level, stride in zip(levels, self.strides, strict=True)
        ]
        proposals = [
            self._propose([s[i] for s in scores], [d[i] for d in deltas], anchors, size)
            for i, size in enumerate(sizes)
        ]
        if targets is None:
            return proposals, {}
        all_scores, all_deltas = torch.cat(scores, dim=1), torch.cat(deltas, dim=1)
        return proposals, rpn_losses(all_scores, all_deltas, torch.cat(anchors), targets)

    def score(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Score all anchors: per level logits (batch, anchors) and deltas (batch, anchors, 4)."""
        scores, deltas = [], []
        for level in levels:
            x = level
            for conv in self.convs:
                x = F.relu(conv(x))
            scores.append(self.objectness(x).permute(0, 2, 3, 1).flatten(1))
            deltas.append(self.deltas(x).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4)))
        return scores, deltas

    @torch.no_grad()
    def _propose(
        self,
        scores: list[Tensor],
        deltas: list[Tensor],
        anchors: list[Tensor],
        size: tuple[int, int],
    ) -> Tensor:
        """The best boxes of one image, without those that say the same."""
        found = []
        n_kept = self.n_proposals * KEPT_PER_LEVEL[self.training]
        for level, (score, delta, anchor) in enumerate(zip(scores, deltas, anchors, strict=True)):
            best = score.topk(min(len(score), n_kept))
            boxes = box_ops.decode(delta[best.indices], anchor[best.indices])
            found.append(
                (box_ops.clip(boxes, size), best.values, torch.full_like(best.indices, level))
            )
        boxes, score, level_of = (torch.cat(parts) for parts in zip(*found, strict=True))
        usable = box_ops.area(boxes) > 0
        boxes, score, level_of = boxes[usable], score[usable], level_of[usable]
        kept = box_ops.nms_per_class(boxes, score, level_of, NMS_LIMIT)
        return boxes[kept[: self.n_proposals]]


def anchors_of(level: Tensor, stride: int) -> Tensor:
    """The anchors of one level: at each pixel three boxes of one area.

    Args:
        level: (batch, channels, rows, columns).
        stride: pixels of the image per row or column.

    Returns:
        (rows * columns * 3, 4), row by row.
    """
    side = SIDE_PER_STRIDE * stride
    ratios = torch.tensor(RATIOS, device=level.device).sqrt()
    half = torch.stack([side / ratios, side * ratios], dim=1) / 2
    shapes = torch.cat([-half, half], dim=1)  # (3, 4) around the origin
    y, x = (torch.arange(n, device=level.device) * stride for n in level.shape[2:])
    at = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1).float()
    return (at.repeat(1, 2)[:, None] + shapes).flatten(0, 1)


def rpn_losses(
    scores: Tensor, deltas: Tensor, anchors: Tensor, targets: Sequence[Instances]
) -> dict[str, Tensor]:
    """How wrong the scores and deltas of 256 anchors per image are.

    Args:
        scores: (batch, anchors) logits.
        deltas: (batch, anchors, 4).
        anchors: (anchors, 4).
        targets: the objects of each image.

    Returns:
        "objectness" (binary cross entropy) and "proposal" (L1), means over the anchors drawn.
    """
    objectness, boxes, n_drawn = scores.new_zeros(()), scores.new_zeros(()), 0
    for score, delta, target in zip(scores, deltas, targets, strict=True):
        matched = match(anchors, target.boxes, at_least=AT_LEAST, below=BELOW, best_too=True)
        objects, background = sample(matched, N_SAMPLED, OBJECT_SHARE)
        drawn = torch.cat([objects, background])
        truth = (matched[drawn] >= 0).to(score.dtype)
        objectness = objectness + F.binary_cross_entropy_with_logits(
            score[drawn], truth, reduction="sum"
        )
        wanted = box_ops.encode(target.boxes[matched[objects]], anchors[objects])
        boxes = boxes + (delta[objects] - wanted).abs().sum()
        n_drawn += len(drawn)
    return {"objectness": objectness / max(n_drawn, 1), "proposal": boxes / max(n_drawn, 1)}
