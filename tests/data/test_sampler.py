import numpy as np
import pytest

from audiomamba.data import EpochSampler
from audiomamba.data.clips import LabelVectors
from audiomamba.data.sampler import balanced_weights, by_class, clip_rng, draw_for, weighted
from audiomamba.errors import DataError


def vectors(labels: list[list[int]], n_classes: int) -> LabelVectors:
    begins = np.cumsum([0, *map(len, labels)])
    return LabelVectors(np.concatenate(labels).astype(np.int64), begins, n_classes)


# Class 0 has three clips, class 1 two, class 2 one, class 3 none; the last clip has no label.
LABELS = [[0], [0, 1], [0, 1, 2], []]
TARGETS = vectors(LABELS, 4)


def test_weights_are_asts():
    per_class = [1000 / 3.01, 1000 / 2.01, 1000 / 1.01]
    expected = [per_class[0], sum(per_class[:2]), sum(per_class), 0]
    np.testing.assert_allclose(balanced_weights(TARGETS), expected, rtol=1e-12)


def test_clips_are_drawn_by_their_weights():
    weights = balanced_weights(TARGETS)
    rng, draw = np.random.default_rng(0), weighted(weights)
    drawn = np.concatenate([draw(rng) for _ in range(5000)])
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    assert shares[3] == 0
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.01)


def test_every_class_has_its_turn_and_every_clip_of_it_a_chance():
    rng, draw = np.random.default_rng(0), by_class(vectors([[0], [0], [0], [1], [2]] * 2, 4))
    clips = np.stack([draw(rng) for _ in range(3000)])
    classes = np.array([0, 0, 0, 1, 2] * 2)[clips]
    assert clips.shape == (3000, 10)
    for turn in (classes[:, :3], classes[:, 3:6], classes[:, 6:9]):
        assert (np.sort(turn, axis=1) == [0, 1, 2]).all()
    np.testing.assert_allclose((classes[:, 0:1] == [0, 1, 2]).mean(axis=0), 1 / 3, atol=0.04)
    of_class_0 = np.bincount(clips[classes == 0], minlength=10)[[0, 1, 2, 5, 6, 7]]
    np.testing.assert_allclose(of_class_0 / of_class_0.sum(), 1 / 6, atol=0.01)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ("shuffled", [0.25] * 4),
        ("balanced", balanced_weights(TARGETS) / balanced_weights(TARGETS).sum()),
        ("by-class", [1 / 9, 1 / 9 + 1 / 6, 1 / 9 + 1 / 6 + 1 / 3, 0]),
    ],
)
def test_a_recipes_word_for_sampling_decides_how_often_clips_come(sampling, expected):
    rng, draw = np.random.default_rng(0), draw_for(sampling, TARGETS)
    epochs = [draw(rng) for _ in range(6000)]
    shares = np.bincount(np.concatenate(epochs), minlength=4) / (4 * len(epochs))
    np.testing.assert_allclose(shares, expected, atol=0.02)
    if sampling == "shuffled":
        assert all(sorted(epoch) == [0, 1, 2, 3] for epoch in epochs[:100])


@pytest.mark.parametrize("balance", [balanced_weights, by_class])
def test_without_labels_nothing_can_be_balanced(balance):
    with pytest.raises(DataError, match="no clip has a label"):
        balance(LabelVectors(np.zeros(0, np.int64), np.zeros(4, np.int64), 3))


def test_an_epoch_depends_on_seed_and_epoch_alone():
    def keys(seed: int, epoch: int) -> list[tuple[int, int, int]]:
        sampler = EpochSampler(4, seed, weighted(balanced_weights(TARGETS)))
        sampler.set_epoch(epoch)
        return list(sampler)

    assert keys(0, 3) == keys(0, 3)
    assert keys(0, 3) != keys(0, 4)
    assert [key[1] for key in keys(0, 3)] != [key[1] for key in keys(1, 3)]
    assert len(keys(0, 3)) == 4


def test_a_clip_that_comes_again_gets_other_random_numbers():
    sampler = EpochSampler(6, 0, lambda _rng: np.array([2, 0, 2, 2, 0, 5]))
    assert list(sampler) == [(0, 2, 0), (0, 0, 0), (0, 2, 1), (0, 2, 2), (0, 0, 1), (0, 5, 0)]
    draws = {clip_rng(0, epoch, clip, take).random() for epoch, clip, take in sampler}
    assert len(draws) == 6
    assert clip_rng(0, 1, 2).random() == clip_rng(0, 1, 2, 0).random()
