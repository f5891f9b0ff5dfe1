"""Drop path: what is dropped in training, how often, and that the mean stays."""

import pytest
import torch
from torch import nn

from audiomamba import models
from audiomamba.models.layers.drop_path import drop_path, drop_rates
from audiomamba.ops import add_norm

N = 4000


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_whole_samples_are_dropped_and_the_mean_stays(probability):
    torch.manual_seed(0)
    found = drop_path(torch.ones(N, 3, 2), probability)
    kept = found[:, 0, 0]
    torch.testing.assert_close(found, kept[:, None, None].expand_as(found))
    assert set(kept.tolist()) == {0.0, torch.tensor(1 / (1 - probability)).item()}
    assert kept.mean().item() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("norm", [nn.RMSNorm(2, eps=1e-5), nn.LayerNorm(2, eps=1e-5)])
def test_a_branch_that_is_added_keeps_its_mean(norm):
    torch.manual_seed(0)
    branch, residual = torch.ones(N, 3, 2), torch.full((N, 3, 2), 5.0)
    _, total = add_norm(drop_path(branch, 0.5), residual, norm)
    assert set(total.unique().tolist()) == {5.0, 7.0}
    assert (total - residual).mean().item() == pytest.approx(1, abs=0.06)


def test_rates_grow_linearly():
    assert drop_rates(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert drop_rates(0.3, 1) == [0.0]


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        # A block drops the branch of the one before; the last branch is dropped before the norm.
        ("aum_tiny", {"depth": 4}, [0, 0, 0.1, 0.2]),
        ("vim_tiny", {"depth": 4}, [0, 0, 0.1, 0.2]),
        ("conv_aum_tiny", {"depth": 3}, [0, 0.1, 0.2]),
        ("mobile_aum_small", {"depth": 3}, [0, 0.1, 0.2]),
        ("vmamba_tiny_v0", {"depths": (1, 3), "dims": (8, 16)}, [0, 0.1, 0.2, 0.3]),
        ("mambaout_tiny", {"depths": (1, 3), "dims": (8, 16)}, [0, 0.1, 0.2, 0.3]),
        (
            "audiomamba_tiny",
            {"depths": (2, 2), "dims": (8, 16), "image_size": 128, "n_heads": (2, 2)},
            [0, 0.1, 0, 0.1, 0.2, 0.3, 0.2, 0.3],
        ),
        (
            "htsat_tiny",
            {"depths": (2, 2), "n_heads": (2, 2), "dim": 8, "image_size": 128},
            [0, 0.1, 0.2, 0.3],
        ),
    ],
)
def test_rates_of_a_model_grow_with_depth(name, changes, expected):
    with torch.device("meta"):
        model = models.create(name, drop_path=0.3, **changes)
    rates = [module.drop_path for module in model.modules() if hasattr(module, "drop_path")]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("aum_tiny", {"dim": 16}),
        ("vim_tiny", {"dim": 16, "n_channels": 1}),
        ("conv_aum_tiny", {"dim": 16, "stem": (4, 4, 4)}),
        ("mobile_aum_small", {"dim": 16, "width": 0.1}),
    ],
)
def test_the_last_branch_of_a_stack_is_dropped_too(name, changes):
    torch.manual_seed(0)
    small = {"depth": 1, "n_mels": 16, "n_frames": 16, "n_classes": 2}
    model = models.create(name, drop_path=0.75, **small, **changes)
    with torch.no_grad():
        model.layers[0].mixer.out_proj.weight.mul_(100)
        x = torch.randn(1, 16, 16).expand(200, -1, -1)
        vectors = model.embed(x)
    alike = ((vectors - vectors[0]).abs().amax(dim=1) < 1e-4).float().mean().item()
    assert 0.6 < max(alike, 1 - alike) < 0.9
