"""RoIAlign on maps whose means are known in closed form."""

import pytest
import torch

from audiomamba.vision.roi_align import pyramid_roi_align, roi_align


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.25])
@pytest.mark.parametrize("size", [1, 2, 7, 14])
def test_a_ramp_gives_the_value_at_the_middle_of_each_cell(scale: float, size: int) -> None:
    # A bilinear map is linear between pixel centres, so that the mean over a cell is its middle's.
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    ramp = torch.stack([2 * rows + 1, 3 * columns - rows])
    boxes = torch.tensor([[8.0, 6.0, 29.3, 25.0], [20.5, 12.25, 36.0, 30.0]]) / scale
    found = roi_align(ramp, boxes, scale, size)
    for box, cells in zip(boxes * scale, found, strict=True):
        left, top, right, bottom = box.tolist()
        middles = (torch.arange(size) + 0.5) / size
        y = top + (bottom - top) * middles - 0.5  # pixel i has its centre at i + 0.5
        x = left + (right - left) * middles - 0.5
        assert torch.allclose(cells[0], (2 * y + 1)[:, None].expand(-1, size), atol=1e-4)
        assert torch.allclose(cells[1], 3 * x[None, :] - y[:, None], atol=1e-4)


def test_outside_of_the_map_is_nothing() -> None:
    ones = torch.ones(1, 8, 8)
    inside, half, outside = roi_align(
        ones,
        torch.tensor([[0.0, 0.0, 8.0, 8.0], [-8.0, 0.0, 8.0, 8.0], [20.0, 20.0, 30.0, 30.0]]),
        1.0,
        4,
    )
    assert inside.mean() == 1
    assert half.mean(dim=(0, 1)).tolist() == [0, 0, 1, 1]
    assert outside.abs().sum() == 0


def test_gradients_reach_the_map_and_add_up() -> None:
    feature_map = torch.zeros(1, 16, 16, requires_grad=True)
    roi_align(feature_map, torch.tensor([[2.0, 2.0, 14.0, 14.0]]), 1.0, 3).sum().backward()
    assert feature_map.grad is not None
    assert feature_map.grad.sum().item() == pytest.approx(9, abs=1e-5)  # each cell is a mean


def test_each_box_is_read_from_the_level_and_image_that_it_belongs_to() -> None:
    maps = [
        torch.stack([torch.full((1, 256 // s, 256 // s), 10.0 * image + s) for image in range(2)])
        for s in (4, 8, 16, 32)
    ]
    sides = [20.0, 60.0, 111.9, 112.1, 224.1, 250.0]
    boxes = torch.tensor([[2.0, 2.0, 2 + side, 2 + side] for side in sides])
    found = pyramid_roi_align(maps, [4, 8, 16, 32], [boxes[:3], boxes[3:]], 7)
    assert found.mean(dim=(1, 2, 3)).round().tolist() == [4, 4, 4, 18, 26, 26]


def test_no_boxes_give_an_empty_result() -> None:
    found = pyramid_roi_align([torch.zeros(1, 3, 8, 8)], [4], [torch.zeros(0, 4)], 7)
    assert found.shape == (0, 3, 7, 7)
