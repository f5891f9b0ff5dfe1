import itertools
from typing import get_args

import pytest
import torch

from audiomamba import models
from audiomamba.errors import ConfigError
from audiomamba.models.layers.sequence import ClassToken
from audiomamba.models.vim import rotary_angles, turn_pairs

SIZE = {"n_classes": 3, "n_mels": 32, "n_frames": 32, "dim": 16, "depth": 2, "patch": (8, 8)}
DIRECTIONS = ("fo-fo", "alternating", "fo-bi", "bi-bi")


def vim(**changes) -> models.Vim:
    torch.manual_seed(0)
    return models.create("vim_tiny", **SIZE | changes).eval()


def images(height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def first_sequence(model: models.Vim, x: torch.Tensor) -> torch.Tensor:
    """What the first block reads."""
    calls = []
    hook = model.layers[0].register_forward_pre_hook(
        lambda _module, inputs: calls.append(inputs[0])
    )
    model(x)
    hook.remove()
    return calls[0]


@pytest.mark.parametrize(
    ("direction", "class_token"), [*itertools.product(DIRECTIONS, get_args(ClassToken))]
)
def test_every_variant_runs_and_learns(direction, class_token):
    model = vim(direction=direction, class_token=class_token)
    x = images().requires_grad_()
    model(x).sum().backward()
    blind = (direction, class_token) == ("fo-fo", "head")  # the token is read before the image
    assert bool(x.grad.any()) != blind
    n_class_tokens = {"none": 0, "double": 2}.get(class_token, 1)
    assert model.tokens(x).shape == (2, 16 + n_class_tokens, 16)


@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_every_second_block_may_read_backward(norm):
    model = vim(direction="alternating", depth=3, norm=norm)
    forward = vim(direction="fo-fo", depth=3, norm=norm)
    forward.load_state_dict(model.state_dict())
    stream = first_sequence(model, images())
    for block in forward.layers:
        stream = (stream + block.mixer(block.norm(stream))).flip(1)
    expected = forward.norm_f(stream).flip(1)  # an odd number of turns
    torch.testing.assert_close(model.tokens(images()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("class_token", get_args(ClassToken))
def test_positions_are_in_the_order_of_the_sequence(class_token):
    model = vim(class_token=class_token)
    before = first_sequence(model, images())
    for row in range(before.shape[1]):
        with torch.no_grad():
            model.pos_embed[:, row] += 1
        moved = (first_sequence(model, images()) - before).abs().amax(dim=(0, 2)) > 0.5
        assert moved.nonzero().flatten().tolist() == [row]
        with torch.no_grad():
            model.pos_embed[:, row] -= 1


@pytest.mark.parametrize(
    ("class_token", "places"),
    [("head", [0]), ("middle", [12]), ("end", [24]), ("double", [0, 25]), ("none", [])],
)
def test_other_sizes_resize_positions_and_keep_those_of_class_tokens(class_token, places):
    model = vim(class_token=class_token)
    old = {"head": [0], "middle": [8], "end": [16], "double": [0, 17], "none": []}[class_token]
    torch.nn.init.ones_(model.pos_embed)
    with torch.no_grad():
        model.pos_embed[:, old] = 2
        for table in model.parameters():
            if table is not model.pos_embed:
                table.zero_()
    sequence = first_sequence(model, images(32, 48))
    expected = torch.ones(24 + len(places))
    expected[places] = 2
    torch.testing.assert_close(sequence[0, :, 0], expected)


def test_an_image_smaller_than_a_patch_is_refused():
    with pytest.raises(ConfigError, match="smaller than one patch of 8 by 8"):
        vim()(images(32, 7))
    with pytest.raises(ConfigError, match=r"expected \(batch, 3, height, width\)"):
        vim()(torch.randn(2, 32, 32))


def test_a_spectrogram_is_read_like_a_grey_image():
    colors, grey = vim(), vim(n_channels=1)
    state = colors.state_dict()
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].sum(1, keepdim=True)
    grey.load_state_dict(state)
    x = torch.randn(2, 32, 32)
    image = x.transpose(1, 2)[:, None].expand(-1, 3, -1, -1)
    torch.testing.assert_close(grey(x), colors(image), rtol=1e-4, atol=1e-5)


def test_pools_differ_as_they_say():
    kinds = ("mean", "max", "last", "all")
    pooled = {pool: vim(class_token="none", pool=pool) for pool in kinds}
    tokens, head = pooled["mean"].tokens(images()), pooled["mean"].head
    torch.testing.assert_close(pooled["mean"](images()), head(tokens.mean(1)))
    torch.testing.assert_close(pooled["max"](images()), head(tokens).amax(1))
    torch.testing.assert_close(pooled["last"](images()), head(tokens[:, -1]))
    torch.testing.assert_close(pooled["all"](images()), head(tokens))


def test_drop_path_grows_from_the_third_block_on():
    rates = [layer.drop_path for layer in vim(depth=5, drop_path=0.4).layers]
    assert rates == pytest.approx([0, 0, 0.1, 0.2, 0.3])


def test_turned_tokens_compare_by_their_distance():
    angles = rotary_angles((5, 6), 16, 14, torch.device("cpu"))
    turns = angles.cos(), angles.sin()
    query, key = (turn_pairs(torch.randn(1, 1, 16).expand(1, 30, 16), turns) for _ in range(2))
    scores = (query[0] @ key[0].T).unflatten(0, (5, 6)).unflatten(2, (5, 6))
    torch.testing.assert_close(scores[1, 2, 3, 1], scores[2, 4, 4, 3])
    assert not torch.allclose(scores[1, 2, 3, 1], scores[1, 2, 3, 2])
    torch.testing.assert_close(query.norm(dim=2), query[:, :1].norm(dim=2).expand(1, 30))


@pytest.mark.parametrize(
    ("class_token", "place"), [("head", 0), ("end", 16), ("double", 0), ("double", 17)]
)
def test_rotary_positions_leave_class_tokens(class_token, place):
    rotary = models.RotaryPositions(absolute=False)
    turned, plain = (vim(class_token=class_token, positions=it) for it in (rotary, "none"))
    plain.load_state_dict(turned.state_dict())
    sequences = [first_sequence(model, images()) for model in (turned, plain)]
    torch.testing.assert_close(sequences[0][:, place], sequences[1][:, place])
    assert not torch.allclose(*(it[:, 9] for it in sequences))


def test_rotary_positions_need_pairs_in_both_halves():
    with pytest.raises(ConfigError, match="dim is 18; rotary positions expect a multiple of 4"):
        vim(dim=18, positions=models.RotaryPositions())


@pytest.mark.parametrize(
    "changes",
    [
        {"direction": "alternating", "norm": "layer", "class_token": "double"},
        {"positions": models.RotaryPositions(residual=True), "class_token": "head"},
    ],
)
def test_compiles_and_exports_whole(changes):
    model, x = vim(**changes), images()
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(x)
    torch.testing.assert_close(rounded.float(), model(x), rtol=0.1, atol=0.1)
    torch.testing.assert_close(model.bfloat16()(x.bfloat16()), rounded, rtol=0.1, atol=0.1)
