import itertools
from functools import cache
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiomamba import models
from audiomamba.errors import ConfigError
from audiomamba.models.aum import Pool
from audiomamba.models.layers.mamba import Direction
from audiomamba.models.layers.sequence import ClassToken, TokenOrder
from audiomamba.ops.resize import resize_patch_kernel, resize_positions

SIZE = {"n_classes": 3, "n_mels": 32, "n_frames": 64, "dim": 16, "depth": 2, "patch": (8, 8)}


def aum(**changes) -> models.AuM:
    torch.manual_seed(0)
    return models.create("aum_tiny", **SIZE | changes).eval()


@pytest.mark.parametrize(
    ("direction", "class_token"),
    [*itertools.product(get_args(Direction), get_args(ClassToken))],
)
def test_every_variant_runs_and_learns(direction, class_token):
    model = aum(direction=direction, class_token=class_token)
    x = torch.randn(2, 64, 32, requires_grad=True)
    model(x).sum().backward()
    blind = (direction, class_token) == ("fo-fo", "head")  # the token is read before the clip
    assert bool(x.grad.any()) != blind
    n_class_tokens = {"none": 0, "double": 2}.get(class_token, 1)
    assert model.tokens(x).shape == (2, 4 * 8 + n_class_tokens, 16)


def test_a_forward_only_head_token_cannot_see_the_clip():
    model = aum(direction="fo-fo", class_token="head")
    one, two = torch.randn(2, 1, 64, 32)
    torch.testing.assert_close(model(one), model(two))
    assert not torch.allclose(*(aum(direction="fo-bi", class_token="head")(x) for x in (one, two)))


def test_reading_backward_is_reading_the_flipped_sequence():
    """With equal weights for both ways, a reversed sequence gives the reversed result."""
    mixer = aum(direction="fo-bi").layers[0].mixer
    mixer.conv1d.weight.data[..., :-1] = 0
    hidden = torch.randn(1, 11, 16)
    torch.testing.assert_close(mixer(hidden.flip(1)), mixer(hidden).flip(1))


def test_pools_differ_as_they_say():
    x = torch.randn(2, 64, 32)
    pooled = {pool: aum(class_token="none", pool=pool) for pool in ("mean", "max", "last")}
    tokens = pooled["mean"].tokens(x)
    head = pooled["mean"].head
    torch.testing.assert_close(pooled["mean"](x), head(tokens.mean(1)))
    torch.testing.assert_close(pooled["max"](x), head(tokens).amax(1))
    torch.testing.assert_close(pooled["last"](x), head(tokens[:, -1]))


def test_the_order_of_tokens():
    model = aum(class_token="none", positions="none", depth=1)
    calls = []
    model.layers[0].register_forward_pre_hook(lambda _module, inputs: calls.append(inputs[0]))
    x = torch.zeros(1, 64, 32)
    x[0, 8:16, 16:24] = 1.0  # time column 1, frequency row 2
    silent = model.patch_embed.proj.bias
    for order, place in (("frequency", 2 * 8 + 1), ("time", 1 * 4 + 2)):
        model.token_order = order
        model(x)
        marked = (calls[-1][0] - silent).abs().sum(-1).nonzero().flatten().tolist()
        assert marked == [place]


def test_drop_path_drops_whole_samples_in_training_only():
    model = aum(drop_path=0.5)
    x = torch.randn(2, 64, 32)
    torch.testing.assert_close(model(x), model(x))
    model.train()
    torch.manual_seed(1)
    assert not torch.allclose(model(x), model(x))


def test_other_lengths_resize_positions():
    model = aum()
    assert model(torch.randn(1, 120, 32)).shape == (1, 3)
    with pytest.raises(ConfigError, match="7 frames is smaller than one patch of 8 by 8"):
        model(torch.randn(1, 7, 32))


def test_resized_positions_keep_the_class_token_and_constant_maps():
    table = torch.cat([torch.randn(1, 1, 4), torch.ones(1, 6, 4)], dim=1)
    resized = resize_positions(table, (2, 3), (4, 5), n_prefix=1)
    torch.testing.assert_close(resized[:, :1], table[:, :1])
    torch.testing.assert_close(resized[:, 1:], torch.ones(1, 20, 4))


@pytest.mark.parametrize("patch", [(16, 16), (4, 4), (12, 20), (32, 8)])
def test_a_resized_kernel_is_tame(patch):
    kernel = torch.randn(5, 1, 8, 8)
    resized = resize_patch_kernel(kernel, patch)
    assert resized.shape == (5, 1, *patch)
    assert resized.abs().max() < 20 * kernel.abs().max()


def test_an_enlarged_kernel_gives_the_same_tokens_for_enlarged_patches():
    kernel, patch = torch.randn(5, 1, 8, 8), torch.randn(1, 1, 8, 8)
    large = torch.nn.functional.interpolate(patch, (16, 16), mode="bilinear")
    token = (resize_patch_kernel(kernel, (16, 16)) * large).sum((1, 2, 3))
    torch.testing.assert_close(token, (kernel * patch).sum((1, 2, 3)), rtol=1e-3, atol=1e-3)


FORMS = st.fixed_dictionaries(
    {
        "direction": st.sampled_from(get_args(Direction)),
        "class_token": st.sampled_from(get_args(ClassToken)),
        "pool": st.sampled_from(get_args(Pool)),
        "token_order": st.sampled_from(get_args(TokenOrder)),
        "positions": st.sampled_from(["absolute", "none"]),
        "stride": st.sampled_from([None, (8, 5)]),
    }
)


@cache
def aum_as(form: tuple[tuple[str, object], ...]) -> models.AuM:
    return aum(**dict(form))


@settings(max_examples=60, deadline=None)
@given(
    form=FORMS,
    lengths=st.lists(st.integers(8, 90), min_size=1, max_size=4),
    surplus=st.integers(0, 20),
)
def test_each_clip_of_a_batch_gets_what_it_gets_alone(form, lengths, surplus):
    model = aum_as(tuple(form.items()))
    x = torch.full((len(lengths), max(lengths) + surplus, 32), torch.nan)
    for clip, length in zip(x, lengths, strict=True):
        clip[:length] = torch.randn(length, 32)
    with torch.no_grad():
        for method in (model, model.embed, model.tokens, model.frame_logits):
            for clip, length, found in zip(
                x, lengths, method(x, torch.tensor(lengths)), strict=True
            ):
                expected = method(clip[None, :length])[0]
                own = found[: len(expected)]
                atol = 1e-5 * expected.abs().max().item()
                torch.testing.assert_close(own, expected, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("class_token", "token_order", "lengths"),
    [*itertools.product(get_args(ClassToken), get_args(TokenOrder), [None, [64, 45]])],
)
def test_steps_stand_where_their_sound_is(class_token, token_order, lengths):
    """Without mixing among tokens, a sound in one column of patches is seen in one step."""
    model = aum(class_token=class_token, token_order=token_order)
    for layer in model.layers:
        torch.nn.init.zeros_(layer.mixer.out_proj.weight)
    x = torch.randn(2, 64, 32)
    louder = x.clone()
    louder[:, 26:30] += 1.0
    lengths = None if lengths is None else torch.tensor(lengths)
    changed = model.frame_logits(louder, lengths) - model.frame_logits(x, lengths)
    steps = changed.abs().amax(dim=2) > 1e-6
    assert [of_clip.nonzero().flatten().tolist() for of_clip in steps] == [[3], [3]]


def test_training_reads_nothing_behind_a_clip():
    model, lengths = aum(drop_path=0.0).train(), torch.tensor([64, 20])
    x = torch.randn(2, 64, 32)
    grads = []
    for padding in (0.0, torch.nan):
        x[1, 20:] = padding
        grads.append(torch.autograd.grad(model(x, lengths).sum(), [*model.parameters()]))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_clip_shorter_than_a_patch_is_refused_in_a_batch_too():
    with pytest.raises(ConfigError, match="lengths go from 7 to 60; expected 8 to 64 frames"):
        aum()(torch.randn(2, 64, 32), torch.tensor([60, 7]))
