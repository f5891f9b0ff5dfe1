"""The process that cross-validation starts for one fold.

python -m audiomamba.train.worker RECIPE.json DATA OUT FOLD THREADS
"""

import json
import os
import sys
import threading
from pathlib import Path

from audiomamba import recipes, train
from audiomamba.errors import AudioMambaError

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Train one fold.

    Args:
        arguments: recipe file, data set, run folder, fold, threads.

    Returns:
        The exit code: 0, or 1 with the error as the last line on standard error.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    recipe_path, data, out, fold, n_threads = arguments
    try:
        recipe = recipes.from_dict(json.loads(Path(recipe_path).read_text(encoding="utf-8")))
        train.fit(
            recipe,
            Path(data),
            Path(out),
            fold=int(fold),
            n_threads=int(n_threads),
            progress=False,
        )
    except AudioMambaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _end_with_parent() -> None:
    """Wait for standard input to close, which happens when the parent ends, however it ends."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
