import pytest
import torch

from audiomamba import checkpoints, models
from audiomamba.errors import CheckpointError
from audiomamba.models.ast import crop_or_stretch_positions

SIZE = {"n_mels": 32, "n_frames": 64, "dim": 16, "depth": 1, "n_heads": 2, "patch": (8, 8)}
HEAD = ("head_norm.weight", "head_norm.bias", "head.weight", "head.bias")


def ast(**changes) -> models.AST:
    return models.create("ast_tiny", **SIZE | {"stride": (8, 8), "n_classes": 3} | changes)


def deit(**changes) -> dict[str, torch.Tensor]:
    changes = {"n_channels": 3, "n_mels": 32, "n_frames": 32, "head_norm": False} | changes
    return ast(**changes).state_dict()


def marked(rows: int, columns: int) -> torch.Tensor:
    """Positions that say their row and their column, behind one row of class token."""
    grid = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
    return torch.cat([torch.full((1, 2), -1.0), grid])[None]


def test_fewer_positions_are_the_middle_of_the_old():
    cut = crop_or_stretch_positions(marked(6, 7), (6, 7), (2, 3), n_prefix=1)
    assert cut[0].tolist() == [[-1, -1], [2, 2], [2, 3], [2, 4], [3, 2], [3, 3], [3, 4]]


def test_more_positions_are_stretched_in_one_direction_only():
    wide = crop_or_stretch_positions(marked(4, 2), (4, 2), (2, 4), n_prefix=1)
    rows, columns = wide[0, 1:].unflatten(0, (2, 4)).unbind(2)
    torch.testing.assert_close(rows, torch.tensor([[1.0], [2.0]]).expand(2, 4))
    torch.testing.assert_close(columns, torch.tensor([0, 0.25, 0.75, 1]).expand(2, 4))


def test_a_grey_image_of_three_equal_colors_gives_the_same_tokens():
    state = deit()
    model = ast(n_mels=32, n_frames=32)
    report = checkpoints.ast_from_deit(model, state)
    assert report.fresh == HEAD
    assert report.unused == ("head.weight", "head.bias")
    assert report.resized == ("patch_embed.proj.weight",)
    image_model = ast(n_channels=3, n_mels=32, n_frames=32, head_norm=False)
    image_model.load_state_dict(state)
    x = torch.randn(1, 32, 32)
    grey = x.transpose(1, 2)[:, None].expand(-1, 3, -1, -1)
    torch.testing.assert_close(model.tokens(x), image_model.tokens(grey))


def test_a_distilled_source_needs_two_class_tokens():
    state = deit(class_tokens="with-distillation")
    state |= {"head_dist.weight": torch.zeros(3, 16), "head_dist.bias": torch.zeros(3)}
    report = checkpoints.ast_from_deit(ast(class_tokens="with-distillation"), state)
    assert {"head_dist.weight", "head_dist.bias"} <= set(report.unused)
    with pytest.raises(CheckpointError, match=r"has a distillation token; .* 'one'"):
        checkpoints.ast_from_deit(ast(), state)
    with pytest.raises(CheckpointError, match=r"has no distillation token; .* 'with-dist"):
        checkpoints.ast_from_deit(ast(class_tokens="with-distillation"), deit())


def test_images_of_another_shape_are_refused():
    with pytest.raises(CheckpointError, match="rows for 32 patches; expected a square"):
        checkpoints.ast_from_deit(ast(), deit(n_frames=64))
    with pytest.raises(CheckpointError, match="tensor 'pos_embed' is missing"):
        checkpoints.ast_from_deit(ast(), {})


@pytest.mark.parametrize(
    ("changes", "resized", "fresh"),
    [
        ({}, (), ()),
        ({"n_classes": 4}, (), HEAD),
        ({"n_frames": 48}, ("pos_embed",), ()),
        ({"stride": (4, 4)}, ("pos_embed",), ()),
    ],
)
def test_another_ast_fits_but_for_its_length_and_head(changes, resized, fresh):
    source, model = ast(), ast(**changes)
    report = checkpoints.ast_from_ast(model, source.state_dict(), source.config)
    assert (report.resized, report.fresh) == (resized, fresh)
    for key in report.taken:
        torch.testing.assert_close(model.state_dict()[key], source.state_dict()[key])


def test_another_width_is_refused():
    source = ast(dim=24)
    with pytest.raises(CheckpointError, match="the source does not fit AST"):
        checkpoints.ast_from_ast(ast(), source.state_dict(), source.config)
