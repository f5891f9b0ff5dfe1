"""Put a distilled model folder into the package as `general`.

python scripts/package_general.py FOLDER --notes notes.json

FOLDER holds the trained model with its thresholds, its hidden labels and the ontology; notes.json
says what it was trained on and how good it is.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from audiomamba import checkpoints

OUT = Path(__file__).parents[1] / "src" / "audiomamba" / "weights" / "general"


def main() -> None:
    """Save the model with half-precision weights and notes on what it can do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the model's folder")
    parser.add_argument("--notes", type=Path, required=True, help="facts worth keeping, as JSON")
    args = parser.parse_args()
    found = checkpoints.load(args.folder)
    notes = json.loads(args.notes.read_text("utf-8"))
    packaged = replace(found, name="general", license="Apache-2.0 AND MIT", notes=notes)
    checkpoints.save(OUT, packaged, dtype=torch.float16)


if __name__ == "__main__":
    main()
