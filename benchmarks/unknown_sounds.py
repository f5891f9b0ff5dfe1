"""How sure is a model of sounds that it knows, and of sounds that it does not?

Known sounds are the held-out clips of a cross-validation, each scored by the run that did not see
it. Unknown sounds are the recordings of a folder, scored by a run on all clips. The score that
counts is the highest one of a clip. The recordings of the published figures are those that
unknown_sounds.csv lists, taken out of Debian 12's packages into one folder.

    audiomamba train esc10/starter --data ESC-10 --out runs/starter --cv
    audiomamba train esc10/starter --data ESC-10 --out runs/starter-all --all
    python benchmarks/unknown_sounds.py --runs runs/starter --data ESC-10 --model runs/starter-all \
        --unknown unknown-sounds --out benchmarks/results/unknown_sounds.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

import audiomamba
from audiomamba import audio, data, infer

THRESHOLDS = (0.3, 0.5, 0.7)
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def known_scores(runs: Path, corpus: Path) -> tuple[np.ndarray, np.ndarray]:
    """Highest score of every held-out clip, and whether its label is right."""
    manifest = data.open_manifest(corpus, "esc10")
    top, right = [], []
    for run in sorted(runs.glob("fold-*")):
        tagger = audiomamba.load(run)
        for clip in manifest.clips:
            if f"fold-{clip.split}" == run.name:
                tag = tagger.tag(clip.path)[0]
                top.append(tag.score)
                right.append(tag.label in clip.labels)
    return np.array(top), np.array(right)


def unknown_scores(model: str, folder: Path) -> tuple[np.ndarray, list[tuple[float, str, str]]]:
    """Highest score of every recording, and the ten recordings with the highest ones."""
    tagger = audiomamba.load(model)
    top = []
    for result in infer.tag_files(tagger, audio.find([folder]), top=1):
        if isinstance(result, infer.Tagged):
            tag = result.tags[0]
            top.append((tag.score, tag.label, result.file.name))
        else:
            print(result.error)
    return np.array([score for score, _, _ in top]), sorted(top, reverse=True)[:10]


def describe(scores: np.ndarray) -> dict[str, object]:
    return {
        "n": len(scores),
        "quantiles": {str(q): round(float(np.quantile(scores, q)), 3) for q in QUANTILES},
        "share at least": {str(t): round(float((scores >= t).mean()), 3) for t in THRESHOLDS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, required=True, help="folder of a cross-validation")
    parser.add_argument("--data", type=Path, required=True, help="its data set")
    parser.add_argument("--unknown", type=Path, required=True, help="folder of other recordings")
    parser.add_argument("--model", required=True, help="the run that was trained on all clips")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    known, right = known_scores(args.runs, args.data)
    unknown, surest = unknown_scores(args.model, args.unknown)
    truth = np.r_[np.ones(len(known)), np.zeros(len(unknown))]
    result = {
        "model": args.model,
        "known, held out": describe(known) | {"accuracy": round(float(right.mean()), 3)},
        "known, held out, right": describe(known[right]),
        "unknown": describe(unknown),
        "AUC of known over unknown": round(float(roc_auc_score(truth, np.r_[known, unknown])), 3),
        "unknown, surest": [[f"{score:.2f}", label, name] for score, label, name in surest],
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
