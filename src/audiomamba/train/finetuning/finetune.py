"""A tagger for sounds of one's own: from labeled clips to a model folder, with nothing to decide.

What is decided, and how:

    clips         those that can be read; the others are named
    held out      the split that the data set says; else a fifth of each class, whole groups if
                  there are any
    input         as long as nearly all clips are, 10 s at most; longer clips are read in windows
    front end     the start model's, statistics included; measured for fresh weights
    head          from trained weights a linear one comes first, fitted to embeddings of the clips
    loss          cross entropy if every clip has one label, else one binary one per class
    learning rate 1e-3, at which the small models of this package learn best from scratch with AdamW
                  and a warm-up; half of it for trained weights, which a new head must not shake,
                  and less where the head is fitted already
    epochs        what fits into the time, the schedule being gone through as fast as that takes; at
                  most enough for a few thousand steps, or a few hundred where the head is fitted,
                  and no more when the held-out metric has ceased to rise
    weights       those of the epoch that was best on the held-out clips; those before the first,
                  if no epoch was as good
    thresholds    those with the highest F1 on the held-out clips

Figures of the held-out clips are therefore a little better than those of clips never seen.
"""

import csv
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from audiomamba import checkpoints
from audiomamba.atomic import write_json
from audiomamba.checkpoints import Checkpoint
from audiomamba.data import Clips, Manifest, read_manifest, write_manifest
from audiomamba.data.corpora import guess_corpus
from audiomamba.data.manifest_file import MANIFEST_NAME, find_manifest
from audiomamba.data.preparation import (
    PROBLEMS_NAME,
    Problem,
    examine,
    first_of,
    refuse_unusable,
    write_problems,
)
from audiomamba.data.silence import refuse_silence
from audiomamba.errors import ConfigError, DataError
from audiomamba.infer.device import use_threads
from audiomamba.output_folders import removed_if_refused
from audiomamba.outputs import sole_writer, writing
from audiomamba.progress import Progress
from audiomamba.recipes import Recipe, from_dict, to_dict
from audiomamba.train.evaluation import (
    EVALUATION_NAME,
    Evaluation,
)
from audiomamba.train.finetuning.auto_recipe import Start, best_by, choose_recipe, find_model
from audiomamba.train.finetuning.budget import Budget, choose_budget
from audiomamba.train.finetuning.earlier_call import Facts, refuse_inputs_of
from audiomamba.train.finetuning.head_first import HEAD_IS_ENOUGH, start_with_head
from audiomamba.train.finetuning.judged import Judged, judged
from audiomamba.train.finetuning.probe import probe_checkpoint
from audiomamba.train.fitting.fit import resume_or_train
from audiomamba.train.fitting.processes import started_together, warn
from audiomamba.train.fitting.task import open_task
from audiomamba.train.run import Run
from audiomamba.train.split import Split, split_clips

__all__ = ["CONFUSIONS_NAME", "FinetuneResult", "finetune"]

LEAST_CLIPS = 5  # of a class: four to learn from, one to hold out
SEED = 0
CONFUSIONS_NAME = "confusions.csv"


@dataclass(frozen=True, kw_only=True)
class FinetuneResult:
    """What finetune made.

    Args:
        folder: the model's folder, ready for `tag --model`.
        n_training: clips that it learned from.
        held_out: how it does on the clips that were held out, precision, recall and F1 of each
            class at its threshold.
        thresholds: the score from which on a class is heard, by label.
        recipe: how all layers were trained; None where the model has a new linear head only.
        n_epochs: passes over the training clips; 0 without a recipe.
        skipped: clips that cannot be used and why, one line each.
        seconds: time that this call took.

    Examples:
        >>> made = finetune(Path("my-sounds"), Path("model"), probe=True, progress=False)
        >>> made.folder.name, sorted(made.thresholds), made.recipe, made.n_epochs
        ('model', ['noise', 'tone'], None, 0)
    """

    folder: Path
    n_training: int
    held_out: Evaluation
    thresholds: dict[str, float]
    recipe: Recipe | None
    n_epochs: int
    skipped: tuple[str, ...]
    seconds: float


def finetune(
    source: Path,
    out: Path,
    *,
    model: str = "general",
    probe: bool = False,
    minutes: float = 15.0,
    changes: Sequence[str] = (),
    overwrite: bool = False,
    n_threads: int | None = None,
    progress: bool = True,
    reading: Progress | None = None,
) -> FinetuneResult:
    """Train a tagger on clips of one's own, or go on with a call that was interrupted.

    Args:
        source: a folder with one folder per class, a CSV file, or anything that train takes.
        out: the folder for the model and the run; it is made.
        model: a model that ships with the package, a model's folder or a run, to start from; or a
            name of models.MODELS, for fresh weights.
        probe: keep the encoder as it is and train a linear head only, which takes a minute or two.
        minutes: the time that training may take on this machine, more than 0.
        changes: settings of the recipe with other values, as for recipes.override.
        overwrite: whether to train anew where the folder holds another model or the clips have
            changed; a model in it stays until the new one is there.
        n_threads: processor threads; None to leave them as they are.
        progress: whether to show a progress bar.
        reading: called with the number of recordings that are read, and of all.

    Returns:
        The model's metrics on the held-out clips, and which clips could not be used.

    Raises:
        ConfigError: a setting cannot work, or the folder cannot be filled.
        UnknownNameError: there is no such model.
        DataError: the data set is not what it should be, or a class has too few clips.
        CheckpointError: the model cannot be loaded.
        TrainingError: the folder holds another run, the clips changed, or the loss is not finite.
        MissingDependencyError: Lightning or scikit-learn is not installed.

    Examples:
        >>> made = finetune(Path("my-sounds"), Path("model"), probe=True, progress=False)
        >>> made.n_training, made.held_out.metrics.accuracy
        (8, 1.0)
    """
    started = time.perf_counter()
    _check_call(probe=probe, minutes=minutes, changes=changes)
    use_threads(n_threads)
    with sole_writer(out), removed_if_refused(out, Run(out).record_path.exists), writing(out):
        refuse_inputs_of(out, source, model, changes)
        start = find_model(model, trained=probe)
        request = {"model": start.init or model, "probe": probe, "minutes": minutes}
        request |= {"data": os.path.realpath(source), "changes": list(changes)}
        facts = Facts(out, request, overwrite=overwrite)
        clips = _open(facts, start, source, reading)
        best = _train(facts, start, clips, started, progress=progress, reading=reading)
        return _finish(facts, start, clips, best, started)


@dataclass(frozen=True)
class _UsableClips:
    """The clips that can be used, their split, and why the others cannot be, one line each."""

    source: Path
    manifest: Manifest
    split: Split
    problems: tuple[Problem, ...]

    def write(self, out: Path) -> None:
        """Write down which clips these are, for evaluate, and what is wrong with the others."""
        write_problems(out / PROBLEMS_NAME, self.problems)
        write_manifest(out / MANIFEST_NAME, self.manifest)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Why the others cannot be used, one line each."""
        return tuple(f"{problem.clip}: {problem.reason}" for problem in self.problems)


def _check_call(*, probe: bool, minutes: float, changes: Sequence[str]) -> None:
    """Refuse what cannot work, before anything is read."""
    if not (minutes > 0 and math.isfinite(minutes)):
        raise ConfigError(f"minutes is {minutes}; expected a number above 0")
    if probe and changes:
        raise ConfigError(f"{changes[0]} changes a recipe, which a probe has none of; leave it out")
    if started_together() > 1:
        raise ConfigError(
            f"torchrun started {started_together()} processes, but finetune is for one; start this "
            "command without torchrun, or use train"
        )


def _open(facts: Facts, start: Start, source: Path, reading: Progress | None) -> _UsableClips:
    """The clips that can be used, in a folder that may be filled from them."""
    clips = _usable_clips(source, facts.out, reading)
    facts.open(clips.manifest, start.folder)
    clips.write(facts.out)
    facts.add(held_out=clips.split.name, skipped=list(clips.skipped))
    return clips


def _usable_clips(source: Path, out: Path, reading: Progress | None) -> _UsableClips:
    """The clips that can be used."""
    listed = find_manifest(source)
    problems: tuple[Problem, ...] = ()
    if listed is not None:
        manifest = read_manifest(listed)
        if manifest.corpus is None:  # files may have changed since they were listed
            unread = Clips(replace(clip, digest=None) for clip in manifest.clips)
            manifest = replace(manifest, clips=unread)
    else:
        prepared = examine(guess_corpus(source), source, out, progress=reading)
        refuse_unusable(source, prepared)
        manifest, problems = prepared.manifest, prepared.problems
    used = set(manifest.clips.label_names)
    labels = [label for label in manifest.labels if label in used]
    lost = [label for label in manifest.labels if label not in used]
    if lost and manifest.corpus is None:
        raise DataError(f"no clip of {lost[0]!r} can be read{first_of(problems)}")
    warn(manifest.notes)
    manifest = Manifest(labels=labels, clips=manifest.clips)
    _check_counts(manifest)
    manifest.check()
    if set(manifest.splits) <= {"train"}:
        manifest = manifest.with_held_out(0.2, SEED)
    split = split_clips(manifest, None, SEED)
    refuse_silence(split.training)
    return _UsableClips(source, manifest, split, problems)


def _check_counts(manifest: Manifest) -> None:
    """Refuse classes with too few clips to learn from, and a data set of one class."""
    if len(manifest.labels) < 2 and manifest.single_label:
        raise DataError(
            f"all clips are labeled {manifest.labels[0]!r}; expected at least 2 classes, or clips "
            "without a label in a column labels"
        )
    counts = manifest.clips.label_vectors(manifest.labels).counts.tolist()
    few = [
        f"{label!r} has {count}"
        for label, count in zip(manifest.labels, counts, strict=True)
        if count < LEAST_CLIPS
    ]
    if few:
        more = f" and {len(few) - 3} more classes are as small" if len(few) > 3 else ""
        raise DataError(
            f"{', '.join(few[:3])}{more}; expected at least {LEAST_CLIPS} clips per class"
        )


def _train(
    facts: Facts,
    start: Start,
    clips: _UsableClips,
    began: float,
    *,
    progress: bool,
    reading: Progress | None,
) -> Judged:
    """A head that fits comes first; all layers are trained where it leaves much to be gained."""

    def left_s() -> float:
        return 60 * float(facts.request["minutes"]) - (time.perf_counter() - began)

    manifest, split, changes = clips.manifest, clips.split, facts.request["changes"]
    if facts.request["probe"]:
        return judged(probe_checkpoint(start, manifest, split, reading), split, best_by(manifest))
    start = start_with_head(start, facts.out, manifest, split, left_s(), reading)
    head: list[Judged] = []
    if start.head and start.checkpoint is not None:
        head = [judged(start.checkpoint, split, best_by(manifest))]
        if head[0].metric >= HEAD_IS_ENOUGH and not changes:
            return head[0]
    known = facts.values
    if known.get("recipe") is None:
        draft = choose_recipe(start, manifest, split, changes)
        chosen = choose_budget(draft, manifest, split, left_s(), changes, with_head=start.head)
        facts.add(recipe=to_dict(chosen.recipe), budget_s=chosen.budget_s)
    recipe, budget_s = from_dict(known["recipe"]), known.get("budget_s")
    tuned = _fit(facts, clips, Budget(recipe=recipe, budget_s=budget_s), progress=progress)
    return max([tuned, *head], key=lambda one: one.metric)  # of equal ones the first


def _fit(facts: Facts, clips: _UsableClips, chosen: Budget, *, progress: bool) -> Judged:
    """Train all layers; the best epoch's model."""
    recipe, manifest, folds = chosen.recipe, clips.manifest, clips.manifest.folds
    fold = int(folds[0]) if folds else None
    done = resume_or_train(
        recipe, manifest, facts.out, fold=fold, budget_s=chosen.budget_s, progress=progress
    )
    checkpoint = checkpoints.load(Run(done.folder).model_path)
    if recipe.ood_limit is not None:  # which fit measures for the last epoch's model
        task = open_task(recipe, manifest, fold=fold, train_on_all=False)
        checkpoint = replace(checkpoint, ood_detector=task.fit_ood_detector(checkpoint))
    found = judged(checkpoint, clips.split, recipe.best_by)
    return replace(found, recipe=recipe, n_epochs=int(done.metrics["epoch"]))


def _finish(
    facts: Facts, start: Start, clips: _UsableClips, best: Judged, began: float
) -> FinetuneResult:
    """Write the model and what it does on the held-out clips."""
    out = facts.out
    held_out = replace(best.held_out, model=out, data=clips.source, split=clips.split.name)
    by_label = dict(zip(best.checkpoint.labels, best.thresholds, strict=True))
    _save(out, replace(best.checkpoint, thresholds=best.thresholds), held_out, start)
    facts.values.setdefault("recipe", None)
    facts.add(thresholds=by_label, n_epochs=best.n_epochs)
    return FinetuneResult(
        folder=out,
        n_training=len(clips.split.training),
        held_out=held_out,
        thresholds=by_label,
        recipe=best.recipe,
        n_epochs=best.n_epochs,
        skipped=clips.skipped,
        seconds=time.perf_counter() - began,
    )


def _save(out: Path, checkpoint: Checkpoint, held_out: Evaluation, start: Start) -> None:
    """Write the model, its metrics, and the held-out clips that it took for something else."""
    found = held_out.metrics
    notes: dict[str, str | int | float] = {
        "started from": start.init or "fresh weights",
        "held-out clips": found.n_clips,
        "held-out accuracy": round(found.accuracy, 4),
    }
    if np.isfinite(found.mean_average_precision):
        notes["held-out mean average precision"] = round(found.mean_average_precision, 4)
    notes |= {name: it for name, it in checkpoint.notes.items() if name.startswith("teachers")}
    named = replace(checkpoint, name=out.resolve().name, notes=notes, license="unknown")
    checkpoints.save(out, named)
    write_json(out / EVALUATION_NAME, held_out.to_dict())
    with (out / CONFUSIONS_NAME).open(
        "w", encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("labels", "given", "error", "path", "piece"))
        rows.writerows(
            (";".join(one.labels), ";".join(one.given), one.error, one.path, one.piece)
            for one in held_out.most_wrong
        )
