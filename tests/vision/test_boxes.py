"""Boxes against plain loops over numbers."""

import pytest
import torch
from torch import Tensor

from audiomamba.errors import ConfigError
from audiomamba.vision import boxes as box_ops


def random_boxes(n: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(n, 2, generator=generator) * 80
    return torch.cat([corner, corner + 1 + torch.rand(n, 2, generator=generator) * 30], dim=1)


def plain_iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared)


def plain_nms(boxes: list[list[float]], scores: list[float], limit: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(plain_iou(boxes[index], boxes[other]) <= limit for other in kept):
            kept.append(index)
    return kept


def test_iou_is_that_of_a_plain_loop() -> None:
    first, second = random_boxes(20), random_boxes(15, seed=1)
    expected = [[plain_iou(a, b) for b in second.tolist()] for a in first.tolist()]
    assert torch.allclose(box_ops.iou(first, second), torch.tensor(expected), atol=1e-6)


@pytest.mark.parametrize("limit", [0.0, 0.3, 0.7, 1.0])
def test_nms_keeps_what_a_plain_loop_keeps(limit: float) -> None:
    boxes = random_boxes(200, seed=2)
    scores = torch.rand(200, generator=torch.Generator().manual_seed(3))
    kept = box_ops.nms(boxes, scores, limit).tolist()
    assert kept == plain_nms(boxes.tolist(), scores.tolist(), limit)


def test_a_chain_of_boxes_that_drop_one_another() -> None:
    boxes = torch.tensor([[float(i), 0.0, i + 4.0, 4.0] for i in range(12)])
    scores = torch.linspace(1, 0.1, 12)
    assert box_ops.nms(boxes, scores, 0.5).tolist() == plain_nms(
        boxes.tolist(), scores.tolist(), 0.5
    )


def test_nms_per_class_is_nms_of_each_class() -> None:
    boxes, scores = random_boxes(60, seed=4), torch.linspace(1, 0, 60)
    classes = torch.arange(60) % 3
    found = box_ops.nms_per_class(boxes, scores, classes, 0.3)
    expected = [
        index
        for one in range(3)
        for index in torch.where(classes == one)[0][
            box_ops.nms(boxes[classes == one], scores[classes == one], 0.3)
        ].tolist()
    ]
    assert found.tolist() == sorted(expected)  # the scores fall with the index


def test_no_boxes_are_no_error() -> None:
    empty = torch.zeros(0, 4)
    assert box_ops.nms(empty, torch.zeros(0), 0.5).tolist() == []
    assert box_ops.nms_per_class(empty, torch.zeros(0), torch.zeros(0).long(), 0.5).tolist() == []


def test_decode_undoes_encode() -> None:
    boxes, anchors = random_boxes(50, seed=5), random_boxes(50, seed=6)
    for weights in ((1.0, 1.0), (10.0, 5.0)):
        back = box_ops.decode(box_ops.encode(boxes, anchors, weights), anchors, weights)
        assert torch.allclose(back, boxes, atol=1e-3)


def test_a_side_does_not_grow_without_end() -> None:
    anchor = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    grown = box_ops.decode(torch.tensor([[0.0, 0.0, 1e4, 1e4]]), anchor)
    assert grown.isfinite().all()
    assert (grown[0, 2] - grown[0, 0]).item() == pytest.approx(125, rel=1e-4)


def test_a_limit_that_is_no_overlap_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"limit is 1\.5; expected .* from 0 to 1"):
        box_ops.nms(random_boxes(2), torch.ones(2), 1.5)
