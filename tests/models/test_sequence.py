"""Where patches and class tokens stand, on grids with an odd number of patches too."""

import pytest
import torch

from audiomamba import models
from audiomamba.models.layers.sequence import Layout

ROWS, COLUMNS = 5, 7
MARK = -1.0
# The class tokens' indices among 5 x 7 patches, and among the 5 x 5 of a shorter clip.
WHERE = {
    "head": ([0], [0]),
    "middle": ([17], [12]),
    "end": ([35], [25]),
    "double": ([0, 36], [0, 26]),
}


def numbered(n_clips: int) -> torch.Tensor:
    """A map whose patches are numbered row by row, (clips, rows, columns, 1)."""
    return torch.arange(float(ROWS * COLUMNS)).view(1, ROWS, COLUMNS, 1).repeat(n_clips, 1, 1, 1)


def layout(class_token, order="frequency", columns=None) -> Layout:
    own = None if columns is None else torch.tensor(columns)
    return Layout((ROWS, COLUMNS), order, class_token, own)


def marks(class_token) -> torch.Tensor:
    return torch.full((2, len(WHERE[class_token][0]), 1), MARK)


@pytest.mark.parametrize("class_token", WHERE)
@pytest.mark.parametrize("order", ["frequency", "time"])
def test_class_tokens_stand_where_they_should(class_token, order):
    joined = layout(class_token, order).join(numbered(2), marks(class_token))[0, :, 0].tolist()
    assert [i for i, value in enumerate(joined) if value == MARK] == WHERE[class_token][0]
    patches = [value for value in joined if value != MARK]
    by_row = numbered(1)[0, :, :, 0]
    assert patches == (by_row if order == "frequency" else by_row.T).flatten().tolist()


@pytest.mark.parametrize("class_token", WHERE)
@pytest.mark.parametrize("order", ["frequency", "time"])
def test_a_shorter_clip_has_them_where_it_has_them_alone(class_token, order):
    of_batch = layout(class_token, order, [5, 7])
    joined = of_batch.join(numbered(2), marks(class_token))
    short = joined[0, :, 0].tolist()
    assert of_batch.lengths.tolist() == [25 + len(WHERE[class_token][1]), joined.shape[1]]
    assert [i for i, value in enumerate(short) if value == MARK] == WHERE[class_token][1]
    by_row = numbered(1)[0, :, :5, 0]
    own = [value for value in short[: of_batch.lengths[0]] if value != MARK]
    assert own == (by_row if order == "frequency" else by_row.T).flatten().tolist()
    assert set(short[of_batch.lengths[0] :]) == {0.0}


@pytest.mark.parametrize("class_token", [*WHERE, "none"])
@pytest.mark.parametrize("order", ["frequency", "time"])
@pytest.mark.parametrize("columns", [None, [5, 7]])
def test_a_sequence_is_split_and_pooled_as_it_was_joined(class_token, order, columns):
    one = layout(class_token, order, columns)
    class_tokens = None if class_token == "none" else marks(class_token)
    joined = one.join(numbered(2), class_tokens)
    split = one.split(joined)
    own = COLUMNS if columns is None else columns[0]
    assert torch.equal(split[0, :, :own], numbered(1)[0, :, :own])
    assert torch.equal(split[1], numbered(1)[0])
    expected = numbered(1)[0, :, :own].mean().item() if class_token == "none" else MARK
    assert one.pool(joined, "mean")[0].item() == pytest.approx(expected)


@pytest.mark.parametrize("class_token", WHERE)
@pytest.mark.parametrize("name", ["aum_tiny", "vim_tiny"])
def test_a_model_puts_its_class_token_there(name, class_token):
    """The stream that enters the first block is 0 but for the class tokens and their positions."""
    size = {"n_mels": 8 * ROWS, "n_frames": 8 * COLUMNS, "patch": (8, 8)}
    images = {"n_channels": 1} if name == "vim_tiny" else {}
    model = models.create(
        name, class_token=class_token, dim=16, depth=1, n_classes=2, **size, **images
    ).eval()
    streams = []
    model.layers[0].register_forward_pre_hook(lambda _module, inputs: streams.append(inputs[0]))
    with torch.no_grad():
        model.pos_embed.zero_()
        # AuM's table has the class tokens first, Vision Mamba's is in the order of the sequence.
        first = list(range(model.config.n_class_tokens))
        model.pos_embed[:, first if name == "aum_tiny" else WHERE[class_token][0]] = 3.0
        for key, weight in model.named_parameters():
            if key.startswith(("patch_embed", "cls_token")):
                weight.zero_()
        model(torch.randn(1, 8 * COLUMNS, 8 * ROWS))
        model(torch.randn(1, 8 * COLUMNS, 8 * ROWS), torch.tensor([8 * COLUMNS]))
    for stream in streams:
        found = stream[0].sum(dim=1).nonzero().flatten().tolist()
        assert found == WHERE[class_token][0]
        assert (stream[0, found] == 3.0).all()
