"""The first step from a trained model: a head that fits, in a model folder to go on from."""

import shutil
from dataclasses import replace
from pathlib import Path

from audiomamba import checkpoints
from audiomamba.atomic import replace_folder
from audiomamba.data import Manifest
from audiomamba.progress import Progress
from audiomamba.train.finetuning.auto_recipe import Start, find_model
from audiomamba.train.finetuning.probe import quick_probe, takes_linear_head
from audiomamba.train.split import Split

__all__ = ["HEAD_IS_ENOUGH", "HEAD_NAME", "start_with_head"]

HEAD_NAME = "head"
HEAD_IS_ENOUGH = 0.85  # of the deciding metric: where training all layers hardly adds to it
TIME_SHARE = 0.6  # of all time: what embedding clips may take


def start_with_head(
    start: Start,
    out: Path,
    manifest: Manifest,
    split: Split,
    left_s: float,
    reading: Progress | None = None,
) -> Start:
    """Give a trained model a head for the clips' classes, unless an earlier call has done so.

    Args:
        start: what to start from.
        out: the folder of the run, which keeps the model in `head`.
        manifest: the clips.
        split: the clips to learn from, and those held out.
        left_s: seconds until everything has to be ready.
        reading: called with the number of clips that are embedded, and of all.

    Returns:
        The model with its head; `start` itself if it has fresh weights, or a head of another kind.

    Raises:
        AudioError: a clip cannot be read.
        MissingDependencyError: scikit-learn is not installed.
    """
    folder = out / HEAD_NAME
    if not folder.is_dir():
        if not takes_linear_head(start):
            return start
        found = quick_probe(start, manifest, split, TIME_SHARE * left_s, reading)
        part = out / f"{HEAD_NAME}.part"
        shutil.rmtree(part, ignore_errors=True)
        checkpoints.save(part, found)
        replace_folder(part, folder)
    return replace(find_model(str(folder), trained=True), head=True)
