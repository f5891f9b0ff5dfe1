import pytest
import torch

from audiomamba import models
from audiomamba.errors import ConfigError

SMALL = {"n_classes": 3, "n_mels": 32, "widths": (4, 4, 6, 6, 8, 8)}


def model(**changes) -> models.CNN14:
    torch.manual_seed(0)
    return models.create("cnn14", **SMALL | changes).eval()


def features(frames: int) -> torch.Tensor:
    return torch.randn(2, frames, 32, generator=torch.Generator().manual_seed(frames))


@pytest.mark.parametrize(
    ("frames", "steps"), [(1, 1), (31, 1), (32, 1), (63, 1), (64, 2), (200, 6)]
)
def test_a_step_is_32_frames(frames, steps):
    assert model().tokens(features(frames)).shape == (2, steps, 8)
    assert model()(features(frames)).isfinite().all()


def test_a_clip_of_less_than_a_step_goes_on_as_it_ends():
    short = features(20)
    longer = torch.cat([short, short[:, -1:].expand(-1, 12, -1)], dim=1)
    torch.testing.assert_close(model()(short), model()(longer))


def test_segments_score_a_clip_by_its_best_step():
    by_segments, x = model(pool="segments"), features(200)
    per_step = by_segments.frame_logits(x)
    torch.testing.assert_close(per_step, by_segments.head(by_segments.tokens(x)))
    torch.testing.assert_close(by_segments(x), per_step.amax(dim=1))
    torch.testing.assert_close(by_segments.embed(x), by_segments.tokens(x).mean(dim=1))


def test_both_forms_have_the_same_tensors():
    assert model().state_dict().keys() == model(pool="segments").state_dict().keys()


def test_too_few_mel_bands_are_refused():
    with pytest.raises(ConfigError, match="n_mels is 31; expected at least 32"):
        model(n_mels=31)
