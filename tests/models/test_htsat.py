import pytest
import torch

from audiomamba import models
from audiomamba.errors import ConfigError
from audiomamba.models.htsat import PatchMerging, WindowAttention


def attention_by_the_book(layer: WindowAttention, x: torch.Tensor) -> torch.Tensor:
    """The same attention over all tokens of the map at once, written out for single tokens."""
    rows, columns, dim = x.shape[1:]
    window, shift, heads = layer.window, layer.shift, layer.n_heads
    places = [(row, column) for row in range(rows) for column in range(columns)]
    query, key, value = layer.qkv(x.flatten(1, 2)).unflatten(2, (3, heads, -1)).unbind(2)
    scores = torch.einsum("bihd,bjhd->bhij", query, key) * (dim // heads) ** -0.5

    def home(place: int, length: int) -> tuple[int, bool]:
        """The window along one axis, and whether it is there by wrapping around."""
        moved = (place - shift) % length
        return moved // window, moved != place - shift

    for i, (row, column) in enumerate(places):
        for j, (other_row, other_column) in enumerate(places):
            same = home(row, rows) == home(other_row, rows)
            same = same and home(column, columns) == home(other_column, columns)
            offset = (row - other_row + window - 1, column - other_column + window - 1)
            index = offset[0] * (2 * window - 1) + offset[1]
            bias = layer.relative_position_bias_table[index] if same else -torch.inf
            scores[:, :, i, j] += bias
    mixed = torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), value)
    return layer.proj(mixed.flatten(2)).view_as(x)


@pytest.mark.parametrize("shift", [0, 1, 2])
@torch.no_grad()
def test_attention_stays_in_its_windows(shift):
    torch.manual_seed(shift)
    layer = WindowAttention(12, n_heads=3, window=4, shift=shift)
    layer.relative_position_bias_table.normal_()
    x = torch.randn(2, 8, 12, 12)
    torch.testing.assert_close(layer(x), attention_by_the_book(layer, x), atol=1e-5, rtol=1e-4)


def test_shifting_lets_windows_exchange():
    layer = WindowAttention(4, n_heads=1, window=2, shift=1)
    x = torch.randn(1, 4, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[0, 1, 1].sum(), x)
    reached = gradient[0].abs().sum(-1) > 0
    assert reached.nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_merging_takes_the_left_column_first():
    merging = PatchMerging(1)
    merging.norm = torch.nn.Identity()
    with torch.no_grad():
        merging.reduction.weight.copy_(torch.tensor([[1.0, 10, 100, 1000], [0, 0, 0, 0]]))
    square = torch.tensor([[1.0, 2], [3, 4]])[None, :, :, None]
    assert merging(square)[0, 0, 0].tolist() == [1 + 30 + 200 + 4000, 0]


def test_a_map_of_one_window_is_not_shifted():
    config = models.HTSATConfig(image_size=64, n_mels=16, dim=8, depths=(2, 2), n_heads=(1, 1))
    shifts = [[block.attn.shift for block in layer.blocks] for layer in config.build().layers]
    assert shifts == [[0, 4], [0, 0]]


def test_patches_may_overlap():
    small = {"n_classes": 2, "image_size": 32, "n_mels": 16, "dim": 8, "n_heads": (1,)}
    model = models.create("htsat_tiny", **small, depths=(1,), patch=(6, 6), stride=(4, 4))
    assert model.forward_intermediates(torch.randn(1, 64, 16))[0].map.shape == (1, 8, 8, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_heads": (4, 8)}, "differ in length"),
        ({"n_heads": (5, 8, 16, 32)}, "stage 0 has 96 channels and 5 heads"),
        ({"window": 6}, "stage 0 has a map of 64 by 64 tokens; expected whole windows of 6"),
        ({"stride": (8, 8)}, r"patch is \(4, 4\) and stride \(8, 8\)"),
        ({"patch": (7, 6), "stride": (4, 4)}, "expected patches larger by an even number"),
        ({"patch": (3, 3)}, "stage 0 has a map of 85.3333 by"),
        ({"depths": (2, 2, 2, 2, 2), "n_heads": (4,) * 5, "window": 3}, "expected whole windows"),
    ],
)
def test_stages_must_fit(changes, message):
    with pytest.raises(ConfigError, match=message):
        models.create("htsat_tiny", **changes)
