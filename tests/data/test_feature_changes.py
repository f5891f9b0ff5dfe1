import numpy as np
import pytest
import torch

from audiomamba.audio import FrontEnd
from audiomamba.data import Augment
from audiomamba.data.feature_changes import (
    FeatureChanges,
    SecondClip,
    blend,
    change_features,
    draw_changes,
    hide,
    roll_time,
    warp_time,
)

FRONT_END = FrontEnd(n_frames=4, n_mels=5, mean=-4.0, std=2.0)
NOTHING = torch.zeros(2, 0, 2, dtype=torch.long)


def changes_of(**fields: torch.Tensor) -> FeatureChanges:
    """No changes to a batch of two, but for the ones given."""
    none = {
        "mel_masks": NOTHING,
        "frame_masks": NOTHING,
        "warp": torch.zeros(2, 2, dtype=torch.long),
        "noise": torch.zeros(2, 0, 0),
        "roll": torch.zeros(2, dtype=torch.long),
    }
    return FeatureChanges(**(none | fields))


def test_masks_hide_their_ranges():
    features = torch.ones(2, 4, 5)
    mel_masks = torch.tensor([[[1, 3]], [[0, 0]]])
    frame_masks = torch.tensor([[[0, 1], [3, 4]], [[2, 2], [0, 0]]])
    hidden = hide(features, mel_masks, frame_masks)
    assert hidden[0].tolist() == [[0] * 5, [1, 0, 0, 1, 1], [1, 0, 0, 1, 1], [0] * 5]
    assert hidden[1].eq(1).all()


def test_no_masks_hide_nothing():
    assert hide(torch.ones(2, 4, 5), NOTHING, NOTHING).eq(1).all()


@pytest.mark.parametrize(
    ("mask_value", "expected"),
    [("mean", (0.0, 0.0)), ("zero", (1.0, 1.0)), ("clip-mean", (9.5, 29.5))],
)
def test_what_stands_in_a_mask(mask_value, expected):
    """Log-mel 0 with mean -4 and std 2 is normalized to (0 + 4) / (2 * 2)."""
    features = torch.arange(40.0).reshape(2, 4, 5)
    masks = torch.tensor([[[1, 2]], [[1, 2]]])
    augment = Augment(n_frame_masks=1, mask_value=mask_value)
    found = change_features(features, changes_of(frame_masks=masks), augment, FRONT_END)
    assert found[:, 1].unique(dim=1).flatten().tolist() == list(expected)
    assert torch.equal(found[:, 2:], features[:, 2:])


def test_a_warp_moves_one_frame_and_bends_the_rest_in_straight_lines():
    ramp = torch.arange(9.0)[None, :, None].expand(3, 9, 2)
    warp = torch.tensor([[4, 4], [4, 2], [2, 4]])
    warped = warp_time(ramp, warp)[..., 0]
    assert warped[0].tolist() == list(range(9))
    slope = 4 / 6  # the 4 frames behind frame 4 now fill 6
    assert warped[1].tolist() == pytest.approx([0, 2, *(4 + slope * step for step in range(7))])
    slope = 6 / 4
    assert warped[2].tolist() == pytest.approx([0, 0.5, 1, 1.5, *(2 + slope * i for i in range(5))])


@pytest.mark.parametrize("warp", [[0, 0], [0, 3], [8, 8], [5, 8], [5, 0]])
def test_warps_at_the_edges_stay_finite_and_inside(warp):
    ramp = torch.arange(9.0)[None, :, None]
    warped = warp_time(ramp, torch.tensor([warp]))
    assert warped.min() >= 0
    assert warped.max() <= 8
    assert warped.diff(dim=1).ge(0).all()


def test_a_roll_is_torchs():
    features = torch.randn(3, 7, 2)
    rolled = roll_time(features, torch.tensor([0, 3, -2]))
    for clip, roll in enumerate((0, 3, -2)):
        assert torch.equal(rolled[clip], features[clip].roll(roll, 0))


def test_noise_comes_before_the_roll():
    noise = torch.zeros(2, 4, 5)
    noise[0, 0, 0] = 1
    changes = changes_of(noise=noise, roll=torch.tensor([1, 0]))
    augment = Augment(noise=0.1, roll_frames=10)
    found = change_features(torch.zeros(2, 4, 5), changes, augment, FRONT_END)
    assert found.nonzero().tolist() == [[0, 1, 0]]


def test_noise_and_roll_are_drawn_as_ast_draws_them():
    """Noise even from 0 to u / 10, u even from 0 to 1; rolls from -10 to 9."""
    rng = np.random.default_rng(0)
    drawn = [draw_changes(Augment(noise=0.1, roll_frames=10), (128, 8), rng) for _ in range(2000)]
    rolls = np.array([one.roll.item() for one in drawn])
    assert set(rolls) == set(range(-10, 10))
    assert rolls.mean() == pytest.approx(-0.5, abs=0.4)
    means = torch.stack([one.noise.mean() for one in drawn])
    assert means.mean().item() == pytest.approx(0.025, rel=0.05)
    assert means.std().item() == pytest.approx(0.05 / 12**0.5, rel=0.05)
    assert 0.099 < max(one.noise.max().item() for one in drawn) <= 0.1
    first = drawn[0].noise
    assert (first.std() / first.mean()).item() == pytest.approx(2 / 12**0.5, rel=0.05)


def test_what_is_off_draws_nothing():
    rng = np.random.default_rng(0)
    changes = draw_changes(Augment(), (128, 8), rng)
    assert [field.numel() for field in changes] == [0, 0, 2, 0, 1]
    assert rng.random() == np.random.default_rng(0).random()
    features = torch.randn(1, 128, 8)
    batch = FeatureChanges(*(field[None] for field in changes))
    assert torch.equal(change_features(features, batch, Augment(), FRONT_END), features)


def test_a_second_spectrogram_is_weighed_or_pasted_in():
    features, others = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    second = SecondClip(
        waveform=torch.zeros(2, 0),
        n_samples=torch.zeros(2),
        share=torch.tensor([0.75, 1.0]),
        box=torch.tensor([[0, 0, 0, 0], [1, 3, 0, 2]]),
    )
    found = blend(features, others, second)
    assert found[0].unique().tolist() == [0.25]
    assert found[1].tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
