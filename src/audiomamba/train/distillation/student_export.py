"""A student as a model folder: its average weights, thresholds, and labels that can be trusted."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from audiomamba import checkpoints
from audiomamba.checkpoints import Checkpoint
from audiomamba.config import from_plain
from audiomamba.data.labels import label_list
from audiomamba.data.labels.ontology import audioset_parents
from audiomamba.errors import ConfigError, TrainingError
from audiomamba.metrics import best_thresholds, compute
from audiomamba.models import AudioModel
from audiomamba.recipes.student import StudentRecipe
from audiomamba.train.distillation.example_shards import ExampleShards
from audiomamba.train.distillation.examples import HELD_OUT
from audiomamba.train.distillation.student import RECORD, STATE, new_student, read_state
from audiomamba.train.distillation.teacher_model import TeacherModel
from audiomamba.train.run import Run

__all__ = ["ExportedStudent", "export_student", "read_trusted"]

POSITIVE = 0.2  # of the teacher's score, from which on a label counts as there
MIN_POSITIVES, GOOD = 20, 0.5
LIMITS = (0.05, 0.6)  # of a threshold
AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class ExportedStudent:
    """A student that was handed over.

    Args:
        folder: the model's folder.
        n_examples: examples of held-out sources that it was judged by.
        precision: average precision of each label with enough of them against the teacher.
        trusted: labels that are shown.
    """

    folder: Path
    n_examples: int
    precision: Mapping[str, float]
    trusted: tuple[str, ...]


def export_student(
    run: Path,
    examples: Path,
    teacher: str,
    out: Path,
    *,
    name: str | None = None,
    trust: Collection[str] = (),
    license: str = "unknown",  # noqa: A002  # as in Checkpoint
) -> ExportedStudent:
    """Write a student's model folder.

    A label is there in an example of the sources held out if the teacher's score is at least 0.2.
    Labels with 20 such examples and an average precision above 0.5 are trusted, the others hidden;
    the threshold of a label is that of the highest F1, or of all labels together where it has too
    few.

    Args:
        run: folder of train_student.
        examples: folder of make_examples, with examples of the sources held out.
        teacher: as for both.
        out: where to; it is made.
        name: of the model; None for the folder's.
        trust: further labels to be trusted, known to be good from elsewhere.
        license: the weights'.

    Returns:
        What it is worth.

    Raises:
        TrainingError: there is no state, or there are no examples of sources held out.
        ConfigError: a trusted label is none of the teacher's.
    """
    teacher_model = TeacherModel(teacher)
    student, step = _student(run, teacher_model)
    labels = teacher_model.checkpoint.labels
    if unknown := sorted(set(trust) - set(labels)):
        raise ConfigError(f"{unknown[0]!r} is to be trusted, but is none of the teacher's labels")
    shards = _held_out(examples / HELD_OUT, teacher_model)
    precision, thresholds = _judge(student, shards, labels)
    good = {label for label, value in precision.items() if value > GOOD} | set(trust)
    notes = _notes(teacher_model, step, len(shards), (len(precision), len(good)))
    checkpoint = replace(
        teacher_model.checkpoint,
        name=name or out.name,
        model=student,
        ood_detector=None,
        thresholds=thresholds,
        hidden=tuple(label for label in labels if label not in good),
        parents=_parents(teacher_model.checkpoint),
        license=license,
        notes=notes,
    )
    checkpoints.save(out, checkpoint, dtype=torch.float16)
    trusted = tuple(label for label in labels if label in good)
    return ExportedStudent(folder=out, n_examples=len(shards), precision=precision, trusted=trusted)


def _notes(
    teacher_model: TeacherModel, step: int, n_examples: int, n_labels: tuple[int, int]
) -> dict[str, str | int | float]:
    """Facts for the model's folder; labels are those measured and those trusted."""
    return {
        "teacher": teacher_model.checkpoint.name,
        "steps": step,
        "held-out examples": n_examples,
        "labels measured": n_labels[0],
        "labels trusted": n_labels[1],
    }


def read_trusted(path: Path) -> tuple[str, ...]:
    """Read a list of labels.

    Args:
        path: a text file, one label a line.

    Returns:
        The labels.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read; expected a text file of labels") from error
    return tuple(line.strip() for line in lines if line.strip())


def _student(run: Path, teacher_model: TeacherModel) -> tuple[AudioModel, int]:
    record, state = Run(run).record(), run / STATE
    if record is None or not state.exists():
        raise TrainingError(f"{run}: no {RECORD} and {STATE} there; train a student first")
    student, _ = new_student(teacher_model, from_plain(StudentRecipe, record["recipe"]))
    saved = read_state(state)
    student.load_state_dict(saved["average"])
    return student.eval(), int(saved["step"])


def _held_out(folder: Path, teacher_model: TeacherModel) -> ExampleShards:
    """The examples to judge by."""
    shards = ExampleShards(folder, teacher_model.fingerprint)
    shards.take(shards.there())
    if not len(shards):
        raise TrainingError(f"{folder}: no examples there; make some first")
    return shards


@torch.inference_mode()
def _scores(student: AudioModel, shards: ExampleShards) -> tuple[np.ndarray, np.ndarray]:
    """(examples, labels) the student's scores, and whether the teacher hears the label."""
    scores, targets = [], []
    for indices in shards.of_length.values():
        for start in range(0, len(indices), AT_ONCE):
            batch = shards.batch(indices[start : start + AT_ONCE])
            scores.append(student(batch.features).sigmoid().numpy())
            targets.append(batch.logits.sigmoid().numpy() >= POSITIVE)
    return np.concatenate(scores), np.concatenate(targets)


def _judge(
    student: AudioModel, shards: ExampleShards, labels: tuple[str, ...]
) -> tuple[dict[str, float], tuple[float, ...]]:
    """Average precision of each label that has enough positives, and all labels' thresholds."""
    scores, targets = _scores(student, shards)
    enough = targets.sum(axis=0) >= MIN_POSITIVES
    thresholds = _thresholds(scores, targets, enough)
    places = np.flatnonzero(enough)
    if not len(places):
        return {}, thresholds
    found = compute(scores[:, places], targets[:, places], [labels[it] for it in places])
    return {one.label: one.average_precision or 0.0 for one in found.classes}, thresholds


def _thresholds(scores: np.ndarray, targets: np.ndarray, enough: np.ndarray) -> tuple[float, ...]:
    """The threshold of each label."""
    (together,) = best_thresholds(scores.reshape(-1, 1), targets.reshape(-1, 1))
    own = np.where(enough, best_thresholds(scores, targets), together)
    return tuple(round(float(value), 3) for value in own.clip(*LIMITS))


def _parents(teacher: Checkpoint) -> dict[str, tuple[str, ...]]:
    """The ontology of the teacher's labels: its own, or AudioSet's where they are AudioSet's."""
    if teacher.parents or teacher.labels != label_list("audioset").names:
        return dict(teacher.parents)
    return audioset_parents()
