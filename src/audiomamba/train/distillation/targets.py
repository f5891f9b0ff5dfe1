"""What a model in training learns from its teachers, on the fly or from files."""

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from audiomamba.checkpoints import load
from audiomamba.data import Clips, Example, LabelVectors, Manifest
from audiomamba.recipes import Recipe
from audiomamba.train.distillation.target_cache import recall
from audiomamba.train.distillation.teachers import Teacher, find_teachers
from audiomamba.train.fitting.losses import soften, with_teachers
from audiomamba.train.run import Run
from audiomamba.train.split import Split, split_clips

__all__ = ["DistillationTargets", "leak_warnings", "open_targets"]

ROWS_AT_ONCE = 1 << 16
HEARD = "teachers have heard the held-out clips"


class TaughtVectors(LabelVectors):
    """Label vectors, each followed by what goes through mixtures with it.

    That is what the teachers say of the clip, or where they hear the mixtures themselves a single
    one. A mixture of vectors ends so with a mixture of what the teachers say, or with the share of
    the clips in it, which is less than 1 where a sound of no class is mixed in.

    Args:
        labels: the label vectors.
        recipe: the loss and the temperature.
        answers: (clips, classes) the teachers' logits; None if they hear the mixtures themselves.
    """

    def __init__(self, labels: LabelVectors, recipe: Recipe, answers: np.ndarray | None) -> None:
        super().__init__(labels.classes, labels.begins, labels.n_classes)
        self.recipe = recipe
        self.answers = answers

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        """Return one clip's vector, (classes + classes,) or (classes + 1,) float32."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return np.concatenate((super().__getitem__(index), self._taught(index)))

    def _taught(self, index: int) -> np.ndarray:
        """What goes through mixtures with a clip."""
        if self.answers is None:
            return np.ones(1, dtype=np.float32)
        answer = torch.from_numpy(self.answers[index]).float()
        temperature = self.recipe.distillation.temperature
        return soften(answer, self.recipe.loss, temperature).numpy()


class DistillationTargets:
    """What a run learns from its teachers.

    Args:
        recipe: the recipe.
        n_classes: number of classes.
        teachers: models that hear every example; none if answers are given.
        answers: (training clips, classes) float16, logits that were computed before; None if the
            teachers hear every example.
        notes: facts for the model's card.
    """

    def __init__(
        self,
        recipe: Recipe,
        n_classes: int,
        teachers: Sequence[Teacher],
        answers: np.ndarray | None = None,
        notes: dict[str, str] | None = None,
    ) -> None:
        self.recipe = recipe
        self.n_classes = n_classes
        self.teachers = tuple(teachers)
        self.answers = answers
        self.notes = notes or {}

    def label_vectors(self, labels: LabelVectors) -> LabelVectors:
        """Let label vectors carry through mixtures what `for_batch` needs.

        Args:
            labels: those of the training clips.

        Returns:
            The same for a TrainingDataset.
        """
        return TaughtVectors(labels, self.recipe, self.answers)

    def for_batch(self, batch: Example) -> tuple[Example, Tensor]:
        """Tell what is to be learned from a batch.

        Args:
            batch: made with the label vectors of `label_vectors`.

        Returns:
            The batch with plain label vectors, and (batch, classes) what the teachers say, as
            losses.with_teachers takes it.
        """
        labels, rest = batch.target.tensor_split([self.n_classes], dim=1)
        batch = batch._replace(target=labels)
        if self.answers is not None:
            return batch, rest
        with torch.inference_mode():
            taught = self._listen(batch, rest)
        return batch, taught.clone()  # for use in training

    def blend(self, loss: Tensor, logits: Tensor, taught: Tensor) -> Tensor:
        """Add to the loss of a batch what the teachers have to say.

        Args:
            loss: against the labels, a scalar.
            logits: (batch, classes), the student's.
            taught: what `for_batch` returned.

        Returns:
            The loss, a scalar.
        """
        return with_teachers(loss, logits, taught, self.recipe.loss, self.recipe.distillation)

    def _listen(self, batch: Example, known: Tensor) -> Tensor:
        """What teachers say of examples, of which the share (batch, 1) known is clips."""
        first = self._ask(batch.waveform, batch.n_samples)
        if not self.recipe.augment.mixes_features:
            return known * first
        box, front_end = batch.second.box, self.recipe.training_front_end(self.recipe.front_end)
        area = (box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2])
        area = area / (front_end.n_frames * front_end.n_mels)
        share = 1 - torch.where(area > 0, 1 - area, batch.second.share)[:, None]
        mixed = (known - share).clamp(min=0) * first
        rows = torch.nonzero(share[:, 0] > 0).flatten()
        if len(rows):
            second = self._ask(batch.second.waveform[rows], batch.second.n_samples[rows])
            mixed.index_add_(0, rows, share[rows] * second)
        return mixed

    def _ask(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """What all teachers together say of waveforms, (batch, classes) from 0 to 1."""
        rate = self.recipe.front_end.sample_rate
        answers = [one.answer(one.hear(waveforms, lengths, rate)) for one in self.teachers]
        together = torch.stack(answers).mean(dim=0)
        return soften(together, self.recipe.loss, self.recipe.distillation.temperature)


def open_targets(
    recipe: Recipe,
    manifest: Manifest,
    split: Split,
    *,
    n_workers: int = 0,
    progress: bool = False,
) -> DistillationTargets | None:
    """Load the teachers of a run, or what they have said of its training clips.

    Args:
        recipe: what to do.
        manifest: the data set.
        split: the clips to learn from, and those held out.
        n_workers: as for teacher_cache.recall.
        progress: as for teacher_cache.recall.

    Returns:
        What is learned from teachers; None if the recipe names none.

    Raises:
        UnknownNameError: there is no such teacher.
        CheckpointError: a teacher cannot be loaded.
        ConfigError: a teacher does not know a class, or is a model of images.
        AudioError: a clip cannot be read.
        TrainingError: a file of the cache is damaged.
    """
    found = find_teachers(recipe, split.name)
    if not found:
        return None
    labels, cache = manifest.labels, recipe.distillation.cache
    teachers = [Teacher(name, folder, labels, recipe.loss) for name, folder in found.items()]
    notes = {"teachers": ", ".join(found)} | _knowledge(recipe, manifest, split)
    if cache is None:
        return DistillationTargets(recipe, len(labels), teachers, notes=notes)
    kept = [
        recall(one, split.training, Path(cache), n_workers=n_workers, progress=progress)
        for one in teachers
    ]
    return DistillationTargets(recipe, len(labels), (), _together(teachers, kept), notes)


def _together(teachers: Sequence[Teacher], kept: Sequence[np.ndarray]) -> np.ndarray:
    """Mean (clips, classes) float16 of what teachers say, a chunk of rows at a time."""
    chunks = []
    for start in range(0, len(kept[0]), ROWS_AT_ONCE):
        rows = [torch.from_numpy(one[start : start + ROWS_AT_ONCE]).float() for one in kept]
        answers = [one.answer(row) for one, row in zip(teachers, rows, strict=True)]
        chunks.append(torch.stack(answers).mean(dim=0).half().numpy())
    return np.concatenate(chunks)


def leak_warnings(recipe: Recipe, manifest: Manifest, split: Split) -> list[str]:
    """Say which teachers may have learned from the clips that a run is judged by.

    Args:
        recipe: what to do.
        manifest: the data set.
        split: the clips to learn from, and those held out.

    Returns:
        One line for each teacher that has, or that does not say.

    Raises:
        UnknownNameError: there is no such teacher.
    """
    lines = []
    for name, folder in find_teachers(recipe, split.name).items() if split.held_out else ():
        knows = _has_heard(folder, manifest, split)
        if knows:
            lines.append(
                f"the teacher {name} has learned from clips that are held out here: metrics of "
                "these clips will be too good"
            )
        elif knows is None:
            card = load(folder).notes.get("trained on")
            about = f" (its card: trained on {card})" if card else ""
            lines.append(
                f"the teacher {name} does not say whether it has learned from the clips that are "
                f"held out here{about}: if so, metrics of these clips will be too good"
            )
    return lines


def _knowledge(recipe: Recipe, manifest: Manifest, split: Split) -> dict[str, str]:
    """What a model's card says of how its teachers were related to the clips held out."""
    if not split.held_out:
        return {}
    folders = find_teachers(recipe, split.name).values()
    heard = {_has_heard(folder, manifest, split) for folder in folders}
    return {HEARD: "yes" if True in heard else "unknown" if None in heard else "no"}


def _has_heard(folder: Path, manifest: Manifest, split: Split) -> bool | None:
    """Whether a teacher has learned from held-out clips; None if its run does not say."""
    record = Run(folder).record() or Run(folder.parent).record()
    if record is None or record["data"]["fingerprint"] != manifest.fingerprint:
        return None
    own = split_clips(manifest, record["data"]["held_out"], record["recipe"]["seed"])
    return not _marks(own.training).isdisjoint(_marks(split.held_out))


def _marks(clips: Clips) -> set[tuple[str, str, str]]:
    """What tells clips from all others."""
    pieces = map(repr, clips.pieces_s.tolist())
    return set(zip(clips.files(), clips.keys(), pieces, strict=True))
