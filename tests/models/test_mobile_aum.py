"""MobileAuM: what the contract of all models does not say."""

import pytest
import torch
from torch import nn

from audiomamba import models
from audiomamba.errors import ConfigError

SIZE = {
    "n_classes": 5,
    "n_mels": 64,
    "width": 0.1,
    "n_blocks": 12,
    "dim": 24,
    "embed_dim": 40,
    "n_hidden": 16,
    "frame_context": 1,
}


def mobile_aum(**changes) -> models.MobileAuM:
    torch.manual_seed(0)
    return models.create("mobile_aum_small", **SIZE | changes).eval()


def test_the_first_layers_are_those_of_efficientat():
    ours = mobile_aum().state_dict()
    theirs = models.create("mn01_as", n_mels=64).state_dict()
    first = {key for key in ours if key.startswith(("stem.", "blocks."))}
    assert first == {
        key
        for key in theirs
        if key.startswith("stem.") or (key.startswith("blocks.") and int(key.split(".")[1]) < 12)
    }
    assert all(ours[key].shape == theirs[key].shape for key in first)


def test_a_step_is_embedded_as_the_mean_around_it():
    one, five = mobile_aum(frame_context=1), mobile_aum(frame_context=5)
    x, lengths = torch.randn(2, 160, 64), torch.tensor([160, 97])
    with torch.no_grad():
        alone, around = (it.frame_embeddings(x, lengths) for it in (one, five))
    torch.testing.assert_close(around[0, 4], alone[0, 2:7].mean(dim=0))
    torch.testing.assert_close(around[0, 0], alone[0, :3].mean(dim=0))
    torch.testing.assert_close(around[1, 6], alone[1, 4:7].mean(dim=0))  # its last of 7 columns


@pytest.mark.parametrize("n_blocks", [7, 11])
def test_fewer_of_the_first_layers_make_a_map_of_the_same_size(n_blocks):
    model = mobile_aum(n_blocks=n_blocks)
    assert len(model.blocks) == n_blocks
    with torch.no_grad():
        assert model.tokens(torch.randn(1, 96, 64)).shape == (1, 6, 40)
    first = set(model.blocks.state_dict())
    assert first < set(mobile_aum().blocks.state_dict())


def test_bands_have_positions_of_their_own():
    model = mobile_aum(n_bands=2)
    x = torch.randn(1, 96, 64)
    captured = []
    model.layers[0].register_forward_pre_hook(lambda _, args: captured.append(args[0]))
    with torch.no_grad():
        assert model.tokens(x).shape == (1, 2 * 6, 40)
        model.merge.weight.zero_()
        model.tokens(x)
    assert captured[0].shape == (1, 12, 24)
    expected = model.pos_embed.detach().flatten(1, 2).repeat_interleave(6, dim=1)
    torch.testing.assert_close(captured[1], expected + model.merge.bias.detach())


def test_both_orders_are_read_in_turns():
    """The second block gets the first one's tokens column after column."""
    model = mobile_aum(n_bands=2, depth=2)
    given, made = [], []
    model.layers[1].register_forward_pre_hook(lambda _, args: given.append(args[0]))
    model.layers[0].register_forward_hook(lambda _, __, out: made.append(out[0]))
    with torch.no_grad():
        model.tokens(torch.randn(1, 96, 64))
    by_column = made[0].unflatten(1, (2, 6)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(given[0], by_column, rtol=0, atol=0)
    assert not torch.equal(given[0], made[0])


def test_a_head_for_other_classes_is_linear():
    model = mobile_aum()
    assert not isinstance(model.head, nn.Linear)
    model.reset_head(3)
    assert isinstance(model.head, nn.Linear)
    assert (model.config.head, model.config.n_classes) == ("linear", 3)
    again = model.config.build().eval()
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, 96, 64)
    torch.testing.assert_close(again(x), model(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_mels": 40}, "n_mels is 40; expected a multiple of 16 x n_bands, 16"),
        ({"n_bands": 3}, "n_mels is 64; expected a multiple of 16 x n_bands, 48"),
        ({"width": 0.0}, "width is 0.0; expected more than 0"),
        ({"frame_context": 4}, "frame_context is 4; expected an odd number"),
        ({"n_blocks": 6}, "n_blocks is 6; expected 7 to 12"),
        ({"n_blocks": 13}, "n_blocks is 13; expected 7 to 12"),
        ({"head": "none"}, "head"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        mobile_aum(**changes)
