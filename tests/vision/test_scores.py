"""Scores of dense models against figures that can be worked out by hand."""

import pytest
import torch

from audiomamba.vision import Detections, Instances
from audiomamba.vision.scores import Confusion, average_precision


def objects(*lefts: float) -> Instances:
    boxes = torch.tensor([[left, 10.0, left + 40, 60.0] for left in lefts]).view(-1, 4)
    masks = torch.zeros(len(lefts), 80, 200, dtype=torch.bool)
    for mask, left in zip(masks, lefts, strict=True):
        mask[10:60, int(left) : int(left) + 40] = True
    return Instances(boxes, torch.zeros(len(lefts), dtype=torch.long), masks)


def found(instances: Instances, *scores: float) -> Detections:
    return Detections(instances.boxes, instances.classes, torch.tensor(scores), instances.masks)


def test_intersection_over_union_by_hand() -> None:
    counts = Confusion(3)
    counts.add(torch.tensor([[0, 0, 1], [1, 0, 0]]), torch.tensor([[0, 1, 1], [1, 255, 0]]))
    scores = counts.scores()
    assert scores["mean_iou"] == pytest.approx((2 / 3 + 2 / 3) / 2)  # class 2 does not occur
    assert scores["mean_accuracy"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["pixel_accuracy"] == pytest.approx(4 / 5)


def test_all_found_is_one_and_nothing_found_is_nothing() -> None:
    truth = objects(5, 100)
    assert average_precision([found(truth, 0.9, 0.8)], [truth], 1) == pytest.approx(
        dict.fromkeys(("box_ap", "box_ap50", "mask_ap", "mask_ap50"), 1.0)
    )
    nothing = found(objects())
    assert set(average_precision([nothing], [truth], 1).values()) == {0.0}


def test_one_of_two_with_a_surer_mistake() -> None:
    truth, shown = objects(5, 100), found(objects(150, 5), 0.9, 0.8)
    # The mistake comes first: precision is 1/2 up to a recall of 1/2 (51 of 101 points).
    expected = 51 / 101 / 2
    assert average_precision([shown], [truth], 1)["box_ap50"] == pytest.approx(expected)


def test_a_box_that_is_a_little_off_counts_at_the_lower_limits() -> None:
    truth, shown = objects(10), found(objects(16), 0.9)  # overlap 34 of 46 columns: 0.739
    scores = average_precision([shown], [truth], 1)
    assert scores["box_ap50"] == pytest.approx(1)
    assert scores["box_ap"] == pytest.approx(0.5)  # at 0.50, 0.55 ... 0.70 of ten limits
