import math

import numpy as np
import pytest

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
    assert found.classes[0].recall is None
    assert found.accuracy == 0.5


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
