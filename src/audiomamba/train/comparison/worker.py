"""The process that cross-validation starts for one fold, or an ablation for one cell.

python -m audiomamba.train.comparison.worker RECIPE.json DATA OUT FOLD THREADS WEIGHTS
"""

import json
import os
import sys
import threading
from pathlib import Path

from audiomamba import recipes, train
from audiomamba.errors import AudioMambaError, exit_code

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Train one recipe.

    Args:
        arguments: recipe file, data set, run folder, fold or "" for the usual split, threads,
            folder of weights to start from or "".

    Returns:
        The exit code: 0, or another with the error as the last line on standard error.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    recipe_path, data, out, fold, n_threads, weights = arguments
    try:
        recipe = recipes.from_dict(json.loads(Path(recipe_path).read_text(encoding="utf-8")))
        train.fit(
            recipe,
            Path(data),
            Path(out),
            fold=int(fold) if fold else None,
            weights=Path(weights) if weights else None,
            n_threads=int(n_threads),
            progress=False,
        )
    except AudioMambaError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code(error)
    return 0


def _end_with_parent() -> None:
    """Wait for standard input to close, which happens when the parent ends, however it ends."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
