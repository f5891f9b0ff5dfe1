import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

from audiomamba import metrics
from audiomamba.errors import DataError

LABELS = ("a", "b", "c")


def test_a_worked_example():
    # class a: positives at ranks 1 and 3 of 4 -> AP = (1/1 + 2/3) / 2; AUC = 3 of 4 pairs in order
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    targets = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    found = metrics.compute(scores, targets, ("a", "b"))
    assert found.classes[0].average_precision == pytest.approx(5 / 6)
    assert found.classes[0].auc == pytest.approx(0.75)
    assert found.classes[1].average_precision == pytest.approx(5 / 6)
    assert found.mean_average_precision == pytest.approx(5 / 6)
    assert found.mean_auc == pytest.approx(0.75)
    assert found.d_prime == pytest.approx(math.sqrt(2) * 0.6744897501960817)
    assert found.accuracy == 0.5
    assert found.confusion == ((2, 0), (2, 0))
    assert [one.recall for one in found.classes] == [1.0, 0.0]


def test_classes_without_clips_are_left_out_and_named():
    scores = np.random.default_rng(0).random((6, 3))
    targets = np.eye(3)[[0, 1, 0, 1, 0, 1]]
    found = metrics.compute(scores, targets, LABELS)
    assert found.left_out == ("c",)
    assert found.classes[2].average_precision is None
    assert found.classes[2].auc is None
    assert found.classes[2].recall is None
    kept = metrics.compute(scores[:, :2], targets[:, :2], LABELS[:2])
    assert found.mean_average_precision == kept.mean_average_precision
    assert found.mean_auc == kept.mean_auc


def test_a_class_that_every_clip_has_counts_for_precision_only():
    targets = np.array([[1, 0], [1, 1]])
    found = metrics.compute(np.array([[0.1, 0.2], [0.3, 0.9]]), targets, ("a", "b"))
    assert found.classes[0].average_precision == 1.0
    assert found.classes[0].auc is None
    assert found.mean_auc == 1.0
    assert found.d_prime == math.inf


def test_several_labels_have_no_confusion():
    targets = np.array([[1, 1, 0], [1, 0, 1]])
    scores = np.array([[0.2, 0.9, 0.1], [0.9, 0.1, 0.3]])  # the first label counts
    found = metrics.compute(scores, targets, LABELS)
    assert found.confusion is None
    assert found.accuracy == 0.5
    assert [one.recall for one in found.classes] == [0.5, 1.0, 0.0]  # at 0.5


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="1 scores are not finite"):
        metrics.compute(np.array([[np.nan, 1.0]]), np.array([[1, 0]]), ("a", "b"))


def test_shapes_that_disagree_are_refused():
    with pytest.raises(DataError, match=r"scores are \(2, 3\) and targets \(2, 2\)"):
        metrics.compute(np.zeros((2, 3)), np.zeros((2, 2)), LABELS)


@pytest.mark.parametrize(
    ("auc", "expected"), [(0.5, 0.0), (1.0, math.inf), (0.0, -math.inf), (0.95, 2.32617)]
)
def test_d_prime(auc, expected):
    assert metrics.d_prime(auc) == pytest.approx(expected, abs=1e-5)
    assert math.isnan(metrics.d_prime(math.nan))


def test_a_report_is_plain_data():
    found = metrics.compute(np.eye(3), np.eye(3), LABELS).to_dict()
    assert found["accuracy"] == 1.0
    assert found["d_prime"] is None  # infinite, which JSON has no word for
    assert found["classes"][0]["label"] == "a"


def test_f1_of_one_label_goes_by_the_highest_score():
    rng = np.random.default_rng(0)
    true = rng.integers(3, size=60)
    scores = rng.random((60, 3)) + 0.5 * np.eye(3)[true]
    found = metrics.compute(scores, np.eye(3)[true], LABELS)
    chosen = scores.argmax(axis=1)
    assert found.f1_macro == pytest.approx(f1_score(true, chosen, average="macro"))
    assert found.f1_micro == pytest.approx(accuracy_score(true, chosen))
    assert {one.threshold for one in found.classes} == {None}


def test_f1_of_several_labels_goes_by_thresholds_and_leaves_empty_classes_out():
    targets = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
    scores = np.array([[0.9, 0.3, 0.8], [0.2, 0.6, 0.8], [0.1, 0.3, 0.8], [0.2, 0.1, 0.8]])
    found = metrics.compute(scores, targets, LABELS, thresholds=(0.5, 0.25, 0.5))
    first, second, empty = found.classes
    assert (first.precision, first.recall) == (1.0, 0.5)
    assert (second.precision, second.recall) == (pytest.approx(2 / 3), 1.0)
    assert (empty.precision, empty.recall, empty.f1) == (0.0, None, None)
    assert found.f1_macro == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found.f1_micro == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))  # 3 right, 1 wrong, 1 missed


def test_the_best_thresholds_part_what_can_be_parted():
    scores = np.array([[0.9, 0.1], [0.7, 0.2], [0.3, 0.3], [0.2, 0.4]])
    targets = np.array([[1, 0], [1, 0], [0, 0], [0, 0]])
    assert metrics.best_thresholds(scores, targets) == pytest.approx((0.5, 0.5))


def test_no_threshold_gives_a_higher_f1_than_the_best_one():
    rng = np.random.default_rng(1)
    targets = rng.random((80, 1)) < 0.3
    scores = np.clip(0.3 * targets + 0.7 * rng.random((80, 1)), 0, 1)
    (best,) = metrics.best_thresholds(scores, targets)
    reached = f1_score(targets[:, 0], scores[:, 0] >= best)
    others = [f1_score(targets[:, 0], scores[:, 0] >= limit) for limit in scores[:, 0]]
    assert reached == pytest.approx(max(others))


def test_resampled_figures_are_those_of_the_drawn_clips():
    rng = np.random.default_rng(2)
    scores = rng.integers(6, size=(30, 2)) / 5  # with many ties
    targets = rng.random((30, 2)) < 0.3
    drawn = rng.integers(30, size=(5, 30))
    counts = np.stack([np.bincount(row, minlength=30) for row in drawn]).astype(float)
    found = metrics._resampled_precision(scores, targets, counts)
    expected = [average_precision_score(targets[row], scores[row]) for row in drawn]
    np.testing.assert_allclose(found, expected)


def test_the_intervals_are_as_wide_as_chance_makes_them_and_seeded():
    rng = np.random.default_rng(3)
    true = rng.integers(2, size=400)
    right = rng.random(400) < 0.8
    scores = np.eye(2)[np.where(right, true, 1 - true)]
    found = metrics.bootstrap(scores, np.eye(2)[true], seed=5)
    assert found == metrics.bootstrap(scores, np.eye(2)[true], seed=5)
    interval = found["accuracy"]
    assert interval.low < right.mean() < interval.high
    assert interval.confidence == 0.95
    spread = np.sqrt(right.mean() * (1 - right.mean()) / 400)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * spread, rel=0.08)


def test_an_interval_leaves_a_fortieth_out_on_either_side():
    found = metrics._interval(np.append(np.arange(1001.0), np.nan), 0.95)
    assert (found.low, found.high) == (pytest.approx(25), pytest.approx(975))


def test_a_class_that_is_not_drawn_is_left_out_of_that_resample():
    scores, targets = np.eye(2)[[0, 0, 0, 1]], np.eye(2)[[0, 0, 0, 1]]
    interval = metrics.bootstrap(scores, targets)["mean_average_precision"]
    assert (interval.low, interval.high) == (1.0, 1.0)
