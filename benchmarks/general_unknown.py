"""Does a classifier on the embedding of general notice sounds of kinds that it never learned?

On ESC-50, in five folds: a linear classifier learns every second kind, then the others, from four
folds; the clips of the fifth are of kinds that it knows, or does not. Compared are its highest
probability, the distance of an embedding to the nearest class, as models.ood measures it, and the
probability lowered by the distance, as models with `ood_limit` do. The embeddings are those that
general.py has kept.

    python benchmarks/general_unknown.py --model general --esc50 ESC-50 --scores scores \
        --out benchmarks/results/general/unknown.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from general import Corpus, Memory, open_tagger
from general_thresholds import ESC50, refuse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from audiomamba.models.ood import fit_ood_detector

LIMIT = 3.0
SHARE_FROM = 0.5


def of_fold(
    embeddings: np.ndarray, kinds: np.ndarray, learned: np.ndarray, tested: np.ndarray
) -> dict[str, float]:
    """Learn some clips, and look at others, of kinds that are among those or not."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=1000))
    classifier.fit(embeddings[learned], kinds[learned])
    targets = torch.from_numpy((kinds[learned][:, None] == classifier.classes_).astype(np.float32))
    detector = fit_ood_detector(torch.from_numpy(embeddings[learned]), targets, LIMIT)
    with torch.inference_mode():
        test = torch.from_numpy(embeddings[tested])
        distance, factor = detector.distance(test).numpy(), detector(test).numpy()
    probability = classifier.predict_proba(embeddings[tested]).max(axis=1)
    lowered, known = probability * factor, np.isin(kinds[tested], classifier.classes_)
    return {
        "accuracy of known kinds": classifier.score(
            embeddings[tested][known], kinds[tested][known]
        ),
        "AUC, highest probability": roc_auc_score(known, probability),
        "AUC, distance": roc_auc_score(known, -distance),
        "AUC, probability lowered by distance": roc_auc_score(known, lowered),
        "known, probability from 0.5": (probability[known] >= SHARE_FROM).mean(),
        "unknown, probability from 0.5": (probability[~known] >= SHARE_FROM).mean(),
        "known, lowered, from 0.5": (lowered[known] >= SHARE_FROM).mean(),
        "unknown, lowered, from 0.5": (lowered[~known] >= SHARE_FROM).mean(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="general")
    parser.add_argument("--esc50", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    corpus = Corpus(args.esc50)
    embeddings = Memory(args.scores).find(open_tagger(args.model), ESC50, refuse).embeddings
    names = np.array(sorted(set(corpus.kinds)))
    found = [
        of_fold(
            embeddings.astype(np.float32),
            corpus.kinds,
            (corpus.folds != fold) & np.isin(corpus.kinds, names[half::2]),
            corpus.folds == fold,
        )
        for fold in sorted(set(corpus.folds.tolist()))
        for half in (0, 1)
    ]
    report = {
        "command": "python benchmarks/general_unknown.py",
        "limit of distance": LIMIT,
        "means of ten": {
            name: round(float(np.mean([one[name] for one in found])), 3) for name in found[0]
        },
    }
    args.out.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
