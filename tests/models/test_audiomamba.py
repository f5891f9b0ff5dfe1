import pytest
import torch

from audiomamba import models
from audiomamba.errors import ConfigError

SMALL = {"depths": (1, 2), "dims": (8, 16), "image_size": 64, "n_mels": 16, "n_frames": 250}
# What the paper's counts have besides: frozen STFT and mel matrices, and an unused linear layer.
FROZEN, UNUSED = 1_083_456, 527 * 527 + 527


def small(**changes) -> models.AudioMamba:
    torch.manual_seed(0)
    return models.create("audiomamba_tiny", **SMALL | {"n_classes": 5} | changes).eval()


@pytest.mark.parametrize(
    ("name", "paper"),
    [("audiomamba_tiny", 40e6), ("audiomamba_micro", 12.3e6), ("audiomamba_nano", 5.2e6)],
)
def test_sizes_are_those_of_the_papers_table(name, paper):
    with torch.device("meta"):
        model = models.create(name)
    count = sum(weight.numel() for weight in model.parameters()) + FROZEN + UNUSED
    digits = -6 if paper == 40e6 else -5
    assert round(count, digits) == paper


def test_stages_are_of_the_folded_image():
    stages = small().forward_intermediates(torch.randn(2, 250, 16))
    assert [tuple(stage.map.shape) for stage in stages] == [(2, 8, 16, 16), (2, 16, 8, 8)]
    assert [stage.stride for stage in stages] == [4, 8]


def test_steps_are_scored_and_averaged():
    model, x = small(), torch.randn(2, 250, 16)
    steps = model.frame_logits(x)
    assert steps.shape == (2, 32, 5)
    torch.testing.assert_close(steps.mean(dim=1), model(x))


def test_transformer_blocks_follow_each_block():
    stage, x = small(n_heads=(2, 4)).layers[1], torch.randn(1, 8, 8, 16)
    expected = x
    for index in range(2):
        expected = stage.transformer_blocks[index](stage.blocks[index](expected))
    torch.testing.assert_close(stage.run_blocks(x), expected)


def test_a_transformer_block_reads_the_whole_map():
    block = small(n_heads=(2, 4)).layers[0].transformer_blocks[0]
    x = torch.randn(1, 3, 4, 8, requires_grad=True)
    (seen,) = torch.autograd.grad(block(x)[0, 0, 0].sum(), x)
    assert (seen.abs().sum(dim=-1) > 0).all()


def test_it_compiles_and_exports_whole():
    model, x = small(n_heads=(2, 4), depths=(1, 1)), torch.randn(2, 250, 16)
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_heads": (2,)}, r"n_heads is \(2,\); expected one divisor of each of dims, \(8, 16\)"),
        ({"n_heads": (2, 5)}, "expected one divisor of each of dims"),
        ({"dims": (8, 16, 32)}, "depths has 2 stages, dims 3"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        small(**changes)
