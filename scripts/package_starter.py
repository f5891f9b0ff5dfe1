"""Put a run's model into the package as `starter`.

audiomamba train esc10/starter --data ESC-10 --out runs/starter-folds --cv
audiomamba train esc10/starter --data ESC-10 --out runs/starter --all --threads 1
python scripts/package_starter.py runs/starter --folds runs/starter-folds
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from audiomamba import checkpoints

OUT = Path(__file__).parents[1] / "src" / "audiomamba" / "weights" / "starter"


def main() -> None:
    """Save the run's model with half-precision weights and notes on what it can do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the run that was trained on all clips")
    parser.add_argument("--folds", type=Path, required=True, help="its recipe's cross-validation")
    args = parser.parse_args()
    found = checkpoints.load(args.run)
    folds = json.loads((args.folds / "cross_validation.json").read_text())
    notes = {
        "trained on": "ESC-10 (K. J. Piczak, 2015; CC BY), all 400 clips, from scratch",
        "recipe": folds["recipe"],
        "seed": folds["seed"],
        "five-fold accuracy": round(folds["ema_accuracy"], 4),
        "five-fold accuracy, of": "the same recipe with each fold held out; averaged weights of "
        "the last epoch",
    }
    packaged = replace(found, name="starter", license="Apache-2.0", notes=notes)
    checkpoints.save(OUT, packaged, dtype=torch.float16)


if __name__ == "__main__":
    main()
