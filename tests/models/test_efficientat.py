import math

import pytest
import torch
from torch import nn

from audiomamba import models
from audiomamba.errors import ConfigError
from audiomamba.models.layers.inverted_residual import (
    ConvNormActivation,
    InvertedResidual,
    SqueezeExcitation,
    round_channels,
)


def model(**changes) -> models.EfficientAT:
    torch.manual_seed(0)
    return models.create("mn01_as", **{"n_classes": 3, "n_mels": 32} | changes)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def unsettle(module: nn.Module) -> None:
    """Give batch norms statistics and weights that are not those of the start."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for value in (norm.weight, norm.running_var):
                nn.init.uniform_(value, 0.5, 2.0)
            for value in (norm.bias, norm.running_mean):
                nn.init.normal_(value)


@pytest.mark.parametrize(
    ("n", "expected"),
    [(1, 8), (8, 8), (11.9, 16), (12, 16), (19.9, 24), (20, 24), (26, 24), (44, 48), (100, 104)],
)
def test_channels_are_a_multiple_of_eight_and_never_a_tenth_too_few(n, expected):
    assert round_channels(n) == expected


@pytest.mark.parametrize("activation", ["relu", "hard-swish", "none"])
def test_folding_changes_nothing(activation):
    layer = ConvNormActivation(4, 6, 3, stride=2, activation=activation)
    unsettle(layer)
    x = noise(2, 4, 9, 11)
    plain = layer.eval().norm(layer.conv(x))
    act = {"relu": nn.ReLU(), "hard-swish": nn.Hardswish(), "none": nn.Identity()}[activation]
    torch.testing.assert_close(layer(x), act(plain))
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), act(plain))


def test_squeezing_averages_a_clips_own_columns():
    layer = SqueezeExcitation(16)
    nn.init.normal_(layer.fc1.weight)
    nn.init.normal_(layer.fc2.weight)
    x = noise(2, 16, 3, 10)
    found = layer(x, torch.tensor([10, 4]))
    torch.testing.assert_close(found[:1], layer(x[:1]))
    torch.testing.assert_close(found[1:, :, :, :4], layer(x[1:, :, :, :4]))
    assert not torch.allclose(found[1:], layer(x[1:]))


def test_training_norms_by_the_clips_own_columns():
    torch.manual_seed(0)
    block = InvertedResidual(8, 24, 8, squeeze=True)
    x = noise(2, 8, 4, 10)
    x[1, :, :, 6:] = torch.nan
    found = block(x.nan_to_num(1e6), torch.tensor([10, 6]))
    assert found[1, :, :, :6].isfinite().all()
    mean = block.expand.norm.running_mean / block.expand.norm.momentum
    widened = block.expand.conv(x)
    own = torch.cat([widened[0].flatten(1), widened[1, :, :, :6].flatten(1)], dim=1)
    torch.testing.assert_close(mean, own.mean(dim=1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("n_in", "stride"), [(8, 1), (16, 1), (8, 2)])
def test_a_shortcut_is_there_where_the_shape_stays(n_in, stride):
    block = InvertedResidual(n_in, 16, 8, stride=stride).eval()
    nn.init.zeros_(block.project.norm.weight)
    x = noise(1, n_in, 6, 7)
    kept = (n_in, stride) == (8, 1)
    assert block.has_shortcut == kept
    shape = (1, 8, 6, 7) if stride == 1 else (1, 8, 3, 4)
    torch.testing.assert_close(block(x), x if kept else torch.zeros(shape))
    assert (block.expand is None) == (n_in == 16)


def test_weights_start_as_in_the_paper():
    fresh = models.create("mn10_as")
    conv = fresh.last.conv.weight
    assert conv.std().item() == pytest.approx(math.sqrt(2 / conv.shape[0]), rel=0.02)
    depthwise = fresh.blocks[14].depthwise.conv.weight
    assert depthwise.std().item() == pytest.approx(math.sqrt(2 / (960 * 25)), rel=0.03)
    for layer in (fresh.head.hidden, fresh.head.output, fresh.blocks[14].squeeze.fc1):
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert not layer.bias.any()


@pytest.mark.parametrize(
    ("strides", "stride"), [((2, 2, 2, 2), 32), ((2, 2, 2, 1), 16), ((2, 2, 1, 1), 8)]
)
@pytest.mark.parametrize("frames", [1, 7, 64, 65])
def test_strides_say_how_long_a_column_is(strides, stride, frames):
    it = model(strides=strides).eval()
    assert it.config.stride == stride
    assert it.frame_embeddings(noise(1, frames, 32)).shape == (1, -(-frames // stride), 96)


def test_convolutional_scores_are_the_mean_of_the_positions():
    it = model(head="fully-convolutional").eval()
    unsettle(it.head)
    x = noise(2, 100, 32)
    dim = it.embed(x).shape[1]
    image = it.tokens(x).transpose(1, 2).view(2, dim, 1, 4)
    expected = it.head.norm(it.head.conv(image)).mean(dim=(2, 3))
    torch.testing.assert_close(it(x), expected)
    torch.testing.assert_close(it.frame_logits(x).mean(dim=1), expected)


def test_convolutional_training_norms_scores_of_positions():
    it = model(head="fully-convolutional").train()
    before = it.head.norm.running_mean.clone()
    logits = it(noise(4, 100, 32), torch.tensor([100, 40, 64, 100]))
    assert logits.shape == (4, 3)
    assert not torch.equal(it.head.norm.running_mean, before)


def test_a_new_head_keeps_the_hidden_layer():
    it = model()
    hidden = it.head.hidden.weight.clone()
    it.reset_head(9)
    torch.testing.assert_close(it.head.hidden.weight, hidden, rtol=0, atol=0)
    assert it.head.output.out_features == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0.0}, "width is 0.0; expected more than 0"),
        ({"strides": (2, 2, 3, 1)}, r"strides are \(2, 2, 3, 1\); expected four of 1 or 2"),
        ({"head": "linear"}, "expected .mlp. or .fully-convolutional."),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        model(**changes)
