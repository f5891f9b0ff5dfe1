import pytest
import torch

from audiomamba import models
from audiomamba.errors import ConfigError
from audiomamba.models.mambaout import GatedCNNBlock

SMALL = {"depths": (1, 2, 1), "dims": (6, 9, 12), "n_classes": 7, "n_mels": 64}


def mambaout(**changes) -> models.MambaOut:
    torch.manual_seed(0)
    return models.create("mambaout_tiny", **SMALL | changes)


def test_stages_give_maps_of_falling_size():
    stages = mambaout().forward_intermediates(torch.randn(1, 96, 64))
    assert [tuple(it.map.shape) for it in stages] == [(1, 6, 16, 24), (1, 9, 8, 12), (1, 12, 4, 6)]
    assert [it.stride for it in stages] == [4, 8, 16]


def test_a_block_sees_as_far_as_its_kernel_and_no_further():
    block = GatedCNNBlock(4, expand_ratio=2.0, conv_ratio=1.0, kernel=5, drop_path=0.0)
    x = torch.randn(1, 9, 9, 4, requires_grad=True)
    block(x)[0, 4, 4].sum().backward()
    rows = x.grad[0].abs().sum(dim=(1, 2)).nonzero().flatten().tolist()
    assert rows == [2, 3, 4, 5, 6]


def test_drop_path_grows_with_depth_and_is_for_training_only():
    model = mambaout(drop_path=0.6)
    rates = [block.drop_path for stage in model.stages for block in stage]
    assert rates == pytest.approx([0, 0.2, 0.4, 0.6])
    x = torch.randn(8, 32, 64)
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


def test_a_new_head_leaves_the_hidden_layer():
    model = mambaout()
    before = model.head_fc.weight.clone()
    model.reset_head(3)
    assert model(torch.randn(1, 32, 64)).shape == (1, 3)
    assert torch.equal(model.head_fc.weight, before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (1, 1)}, r"depths \(1, 1\) and dims \(6, 9, 12\) differ in length"),
        ({"conv_ratio": 3.0}, "conv_ratio is 3.0; expected above 0 and at most expand_ratio"),
        ({"kernel": 4}, "kernel is 4; expected an odd number"),
        ({"depths": ()}, "expected a list of values, each a whole number of at least 1"),
        ({"n_channels": 2}, "n_channels is 2; expected 1 or 3"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        mambaout(**changes)


def test_images_are_not_sound():
    with pytest.raises(ConfigError, match=r"images have shape \(1, 96, 64\); expected \(batch, 3,"):
        mambaout(n_channels=3)(torch.randn(1, 96, 64))
