"""Detectors: their parts, and what they learn from."""

import pytest
import torch
from torch import Tensor

from audiomamba.errors import ConfigError
from audiomamba.models import MambaOutConfig, VimConfig
from audiomamba.vision import Detector, DetectorConfig, Instances
from audiomamba.vision.heads.mask_head import mask_loss, paste_masks
from audiomamba.vision.heads.matching import match, sample
from audiomamba.vision.heads.rpn import anchors_of

SMALL = MambaOutConfig(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), n_channels=3)


def small_detector(*, cascade: bool = False) -> Detector:
    torch.manual_seed(0)
    return DetectorConfig(model=SMALL, dim=16, n_classes=3, cascade=cascade).build()


def objects(n: int, size: tuple[int, int]) -> Instances:
    boxes = torch.tensor([[10.0 * i, 5.0, 10.0 * i + 24, 40.0] for i in range(n)]).view(-1, 4)
    masks = torch.zeros(n, *size, dtype=torch.bool)
    for index in range(n):
        masks[index, 5:40, 10 * index : 10 * index + 24] = True
    return Instances(boxes, torch.arange(n) % 3, masks)


@pytest.mark.parametrize("cascade", [False, True])
def test_every_weight_learns(cascade: bool) -> None:
    model = small_detector(cascade=cascade)
    images = [torch.randn(3, 64, 96), torch.randn(3, 80, 64)]
    losses = model.losses(images, [objects(3, (64, 96)), objects(1, (80, 64))])
    assert {"objectness", "proposal", "class", "box", "mask"} <= {*losses}
    assert ("class_3" in losses) == cascade
    torch.stack(list(losses.values())).sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    assert idle == []


def test_images_without_objects_are_learnt_from() -> None:
    model = small_detector()
    losses = model.losses([torch.randn(3, 64, 64)], [objects(0, (64, 64))])
    torch.stack(list(losses.values())).sum().backward()
    assert losses["box"].item() == losses["mask"].item() == losses["proposal"].item() == 0
    assert losses["objectness"].item() > 0
    assert losses["class"].item() > 0


def test_a_batch_finds_what_its_images_find_alone() -> None:
    model = small_detector().eval()
    torch.nn.init.normal_(model.roi_heads.box_heads[0].classify.weight, std=0.5)
    images = [torch.randn(3, 64, 96), torch.randn(3, 64, 96)]
    for together, image in zip(model(images), images, strict=True):
        [alone] = model([image])
        assert len(alone) > 0
        assert torch.equal(together.classes, alone.classes)
        assert torch.allclose(together.boxes, alone.boxes, atol=1e-3)
        assert torch.allclose(together.scores, alone.scores, atol=1e-5)


def test_boxes_stay_within_their_own_image() -> None:
    model = small_detector(cascade=True).eval()
    for head in model.roi_heads.box_heads:
        torch.nn.init.normal_(head.deltas.weight, std=0.5)
        torch.nn.init.normal_(head.classify.weight, std=0.5)
    for found, (height, width) in zip(
        model([torch.randn(3, 50, 96), torch.randn(3, 64, 40)]), [(50, 96), (64, 40)], strict=True
    ):
        assert len(found) > 0
        assert found.boxes.min() >= 0
        assert (found.boxes.amax(dim=0) <= torch.tensor([width, height, width, height])).all()
        assert found.masks is not None
        assert found.masks.shape == (len(found), height, width)
        assert (found.scores[:-1] >= found.scores[1:]).all()


def test_anchors_have_three_forms_of_one_area_around_each_pixel() -> None:
    anchors = anchors_of(torch.zeros(1, 4, 2, 3), stride=16)
    assert anchors.shape == (18, 4)
    sides = anchors[:, 2:] - anchors[:, :2]
    assert torch.allclose(sides.prod(dim=1), torch.tensor(128.0**2), rtol=1e-5)
    assert torch.allclose((sides[:, 1] / sides[:, 0])[:3], torch.tensor([0.5, 1.0, 2.0]), rtol=1e-5)
    centres = (anchors[::3, 2:] + anchors[::3, :2]) / 2
    assert centres.tolist() == [[0, 0], [16, 0], [32, 0], [0, 16], [16, 16], [32, 16]]


def test_matching_by_hand() -> None:
    truth = torch.tensor([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
    candidates = torch.tensor(
        [[0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 5.0], [20.0, 20.0, 30.0, 30.0], [50, 50, 60, 52]]
    )
    found = match(candidates, truth, at_least=0.7, below=0.3)
    assert found.tolist() == [0, -2, -1, -1]
    found = match(candidates, truth, at_least=0.7, below=0.3, best_too=True)
    assert found.tolist() == [0, -2, -1, 1]  # the last one overlaps its object most, if little
    assert match(candidates, truth[:0], at_least=0.7, below=0.3).tolist() == [-1] * 4


def test_sampling_keeps_its_shares() -> None:
    matched = torch.cat([torch.zeros(300), torch.full((300,), -1), torch.full((99,), -2)]).long()
    drawn_objects, background = sample(matched, 256, 0.5)
    assert len(drawn_objects) == len(background) == 128
    assert (matched[drawn_objects] == 0).all()
    assert (matched[background] == -1).all()
    few, many = sample(matched[295:], 256, 0.5)
    assert (len(few), len(many)) == (5, 251)


def test_a_mask_that_is_cut_out_and_put_back_is_the_mask() -> None:
    [mask] = objects(1, (64, 96)).masks  # type: ignore[misc]
    box = torch.tensor([[0.0, 5.0, 24.0, 40.0]])
    pasted = paste_masks(torch.ones(1, 28, 28), box, (64, 96))
    assert torch.equal(pasted[0], mask)


def test_the_mask_loss_is_least_for_the_right_mask() -> None:
    masks = [torch.zeros(1, 32, 32, dtype=torch.bool)]
    masks[0][:, :16] = True  # the upper half
    boxes = [torch.tensor([[0.0, 0.0, 32.0, 32.0]])]
    right = torch.full((1, 2, 28, 28), -9.0)
    right[:, 1, :14] = 9.0
    classes = torch.tensor([1])
    assert mask_loss(right, boxes, classes, masks).item() < 1e-3
    assert mask_loss(-right, boxes, classes, masks).item() > 8
    assert mask_loss(right, boxes, torch.tensor([0]), masks).item() > 4  # of another class


def test_a_vim_with_a_pyramid_of_its_last_map() -> None:
    vim = VimConfig(dim=16, depth=2, n_mels=64, n_frames=64, class_token="none")
    model = DetectorConfig(
        model=vim, blocks=(2,), dim=16, n_classes=3, cascade=True, side=64
    ).build()
    assert model.rpn.strides == (4, 8, 16, 32, 64)
    losses = model.losses([torch.randn(3, 50, 64)], [objects(2, (50, 64))])
    torch.stack(list(losses.values())).sum().backward()
    assert model.eval()([torch.randn(3, 50, 64)])[0].boxes.shape[1] == 4
    with pytest.raises(ConfigError, match="a side of 96 pixels; this model takes up to 64"):
        model([torch.zeros(3, 50, 96)])


@pytest.mark.parametrize(
    ("images", "message"),
    [([], "there is no image"), ([torch.zeros(64, 64)], r"shape \(64, 64\); expected \(3, height")],
)
def test_what_is_no_image_is_refused(images: list[Tensor], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_detector().eval()(images)


def test_instances_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected \(2, 4\)"):
        Instances(torch.zeros(1, 4), torch.zeros(2).long())
    with pytest.raises(ConfigError, match=r"expected \(1, height, width\)"):
        Instances(torch.zeros(1, 4), torch.zeros(1).long(), torch.zeros(2, 4, 4))
