import pytest
import torch

from audiomamba.errors import ConfigError
from audiomamba.models.ood import SHRINKAGE, fit_ood_detector

DIM, N_CLIPS = 6, 4000


def clips() -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes whose embeddings vary much along the first channel, little along the others."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([5.0, *[0.5] * (DIM - 1)])
    targets = torch.eye(2).repeat(N_CLIPS // 2, 1)
    noise = torch.randn(N_CLIPS, DIM, generator=generator) * spread
    return noise + 3 * targets @ torch.eye(2, DIM), targets


def test_the_training_clips_are_at_distance_one_on_average() -> None:
    embeddings, targets = clips()
    found = fit_ood_detector(embeddings, targets, limit=2.5)
    to_own = (embeddings - targets @ found.means) @ found.whitening
    assert to_own.square().mean().item() == pytest.approx(1, abs=2 * SHRINKAGE * DIM)
    assert found.distance(embeddings).mean() <= to_own.square().mean()
    assert (found(embeddings) > 0.5).double().mean() > 0.95


def test_distance_counts_in_spreads_of_the_direction() -> None:
    found = fit_ood_detector(*clips(), limit=2.5)
    along, across = (found.means[0] + 4 * torch.eye(DIM)[k] for k in (0, 2))
    near, far = found.distance(torch.stack([along, across])).tolist()
    assert near < 0.5
    assert far > 5
    assert found(across[None]).item() < 0.01


def test_the_factor_is_one_half_at_the_limit() -> None:
    found = fit_ood_detector(*clips(), limit=2.5)
    away = torch.eye(DIM)[2]
    at_one = found.distance((found.means[0] + away)[None]).item()
    at_limit = found.means[0] + away * (2.5 / at_one) ** 0.5
    assert found(at_limit[None]).item() == pytest.approx(0.5, abs=1e-3)


def test_too_few_clips_are_refused() -> None:
    embeddings, targets = clips()
    with pytest.raises(ConfigError, match=r"6 training clips are too few .* 6 channels"):
        fit_ood_detector(embeddings[:DIM], targets[:DIM], limit=2.5)
