"""Which labels does a tagger of everyday sound show, and from which score on is one heard?

A label is shown if it agrees with the teacher on held-out sounds (average precision above 0.5, with
at least 20 positives) or with the truth on ESC-50. Its threshold has the highest F1 against the
teacher, drawn to that of all labels together as if that were worth some more positives, and kept
within limits. Rules are compared as they are used: chosen on ESC-50 and the first held-out sources,
judged on further ones. What ships is then chosen on all of them.

The scores are those that general.py has kept in its folder --scores.

    python benchmarks/general_thresholds.py --model general --teacher mn04_as.safetensors \
        --esc50 ESC-50 --scores scores --out benchmarks/results/general/thresholds.json
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from general import (
    GOOD,
    MIN_POSITIVES,
    Corpus,
    Memory,
    agreement,
    label_precision,
    open_tagger,
)
from sklearn.metrics import precision_recall_curve

POSITIVE = 0.2
FIRST, FURTHER, ESC50 = "held-out", "further held-out", "esc50"


@dataclass(frozen=True)
class Rule:
    """How thresholds are chosen.

    Args:
        drawn: positives that the threshold of all labels together is worth.
        lowest, highest: limits.
        same: one threshold for all labels; None for one of each.
    """

    drawn: float = 0.0
    lowest: float = 0.05
    highest: float = 0.6
    same: float | None = None


EARLIER, SHIPS = Rule(), Rule(drawn=30, lowest=0.15, highest=0.4)
RULES = {
    "each label's own": EARLIER,
    "own, 0.1 to 0.5": Rule(lowest=0.1, highest=0.5),
    "own, 0.15 to 0.4": Rule(lowest=0.15, highest=0.4),
    "own, 0.2 to 0.4": Rule(lowest=0.2, highest=0.4),
    "drawn by 30, 0.1 to 0.5": Rule(30, 0.1, 0.5),
    "drawn by 30, 0.15 to 0.4": SHIPS,
    "0.15": Rule(same=0.15),
    "0.2": Rule(same=0.2),
    "0.3": Rule(same=0.3),
}


@dataclass(frozen=True)
class Scores:
    """What both say of the same clips: (clips, labels) each."""

    student: np.ndarray
    teacher: np.ndarray

    def __add__(self, other: "Scores") -> "Scores":
        return Scores(
            np.concatenate([self.student, other.student]),
            np.concatenate([self.teacher, other.teacher]),
        )


def best_threshold(truth: np.ndarray, scores: np.ndarray) -> float:
    """The score from which on F1 is highest."""
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return float(thresholds[min(int(f1.argmax()), len(thresholds) - 1)])


def choose(of: Scores, rule: Rule) -> np.ndarray:
    """A threshold for each label."""
    n_labels = of.student.shape[1]
    if rule.same is not None:
        return np.full(n_labels, rule.same)
    truth = of.teacher >= POSITIVE
    together = best_threshold(truth.ravel(), of.student.ravel())
    chosen = np.full(n_labels, together)
    for index, n_positives in enumerate(truth.sum(axis=0).tolist()):
        if n_positives >= MIN_POSITIVES:
            own = max(best_threshold(truth[:, index], of.student[:, index]), 0.01)
            weight = n_positives / (n_positives + rule.drawn)
            chosen[index] = np.exp(weight * np.log(own) + (1 - weight) * np.log(together))
    return chosen.clip(rule.lowest, rule.highest)


def judge(of: Scores, thresholds: np.ndarray, places: list[int]) -> dict[str, float]:
    """Precision, recall and F1 of some labels against the teacher."""
    truth = of.teacher[:, places] >= POSITIVE
    heard = of.student[:, places] >= thresholds[places]
    right, n_true = (truth & heard).sum(axis=0), truth.sum(axis=0)
    precision, recall = right.sum() / max(1, heard.sum()), right.sum() / n_true.sum()
    f1 = 2 * right / np.maximum(1, n_true + heard.sum(axis=0))
    return {
        "precision": round(float(precision), 3),
        "recall": round(float(recall), 3),
        "F1": round(float(2 * precision * recall / (precision + recall)), 3),
        "mean F1 of labels": round(float(f1[n_true >= MIN_POSITIVES].mean()), 3),
        "labels in the mean": int((n_true >= MIN_POSITIVES).sum()),
    }


def agreeing(labels: tuple[str, ...], of: Scores) -> dict[str, float]:
    """Average precision of each label with enough positives."""
    found = agreement(labels, of.student, of.teacher, POSITIVE)["labels"]
    return {label: one["ap"] for label, one in found.items()}


def good(precisions: dict[str, float]) -> set[str]:
    """The labels that pass."""
    return {label for label, precision in precisions.items() if precision > GOOD}


def refuse() -> NoReturn:
    """Say that general.py must run first."""
    raise SystemExit("no such scores: run general.py with the same --scores first")


def read_all(memory: Memory, model: str, teacher: str) -> tuple[Any, dict[str, Scores]]:
    """The tagger, and the scores of each set of clips."""
    taggers = open_tagger(model), open_tagger(teacher)
    names = (FIRST, FURTHER, ESC50)
    return taggers[0], {
        name: Scores(*(memory.find(it, name, refuse).scores for it in taggers)) for name in names
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="general")
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--esc50", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    tagger, scores = read_all(Memory(args.scores), args.model, args.teacher)
    labels = tagger.labels
    true_there = good(label_precision(tagger, scores[ESC50].student, Corpus(args.esc50).kinds))
    known, further = scores[FIRST] + scores[ESC50], scores[FURTHER]
    shown = good(agreeing(labels, known)) | true_there
    measured = agreeing(labels, further)
    places = [index for index, label in enumerate(labels) if label in shown]
    everything = known + further
    shipped = good(agreeing(labels, everything)) | true_there
    report = {
        "command": "python benchmarks/general_thresholds.py",
        "clips": {name: len(of.student) for name, of in scores.items()},
        "labels shown by the first sources and ESC-50": {
            "shown": len(shown),
            "measured on further sources": len(shown & set(measured)),
            "above 0.5 there": len(shown & good(measured)),
        },
        "labels not shown by them": {
            "measured on further sources": len(set(measured) - shown),
            "above 0.5 there": len(good(measured) - shown),
        },
        "rules, judged on further sources": {
            name: judge(further, choose(known, rule), places) for name, rule in RULES.items()
        },
        "ships": {
            "shown": len(shipped),
            "hidden": [label for label in labels if label not in shipped],
            "thresholds": [round(float(one), 3) for one in choose(everything, SHIPS)],
        },
    }
    args.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
