"""How cells of a cross-validated set differ from one of them, fold by fold.

All cells are trained and evaluated on the same folds, so the difference of two is known better than
either figure: its standard error is that of the folds' differences.

    audiomamba train --ablation esc10/comparison --data ESC-10 --out runs/comparison --cv
    python benchmarks/esc10_differences.py runs/comparison/set.json --to "AuM, fo-bi, middle"
"""

import argparse
import json
import statistics
from pathlib import Path


def main() -> None:
    """Print one line per cell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path, help="set.json of the run")
    parser.add_argument("--to", required=True, help="the cell that the others are compared with")
    arguments = parser.parse_args()
    cells = json.loads(arguments.path.read_text(encoding="utf-8"))["cells"]
    runs = {cell["name"]: cell["runs"] for cell in cells if cell["problem"] is None}
    print(f"| | points above {arguments.to} | standard error | folds above, below |")
    print("|---|---|---|---|")
    for name, figures in runs.items():
        pairs = zip(figures, runs[arguments.to], strict=True)
        steps = [100 * (figure - other) for figure, other in pairs]
        error = statistics.stdev(steps) / len(steps) ** 0.5
        above, below = sum(step > 0 for step in steps), sum(step < 0 for step in steps)
        print(f"| {name} | {statistics.mean(steps):+.1f} | {error:.1f} | {above}, {below} |")


if __name__ == "__main__":
    main()
