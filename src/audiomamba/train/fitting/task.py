"""What a run learns from what: a recipe, a data set, and which clips are held out."""

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audiomamba import models
from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import Checkpoint
from audiomamba.data import ClipCache, Clips, EvaluationDataset, Manifest, measure, open_manifest
from audiomamba.data.clip_reader import check_header, digest_of
from audiomamba.data.silence import refuse_silence
from audiomamba.errors import ConfigError, DataError
from audiomamba.models import AudioModel
from audiomamba.models.ood import OODDetector, check_enough_clips, fit_ood_detector
from audiomamba.recipes import Recipe, to_dict
from audiomamba.train.distillation.teachers import fingerprints
from audiomamba.train.fitting import processes
from audiomamba.train.fitting.scoring import predict
from audiomamba.train.split import NOTHING, Split, split_clips

__all__ = ["Task", "contents_of", "data_marks", "open_task"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a run learns from what.

    Args:
        recipe: how.
        manifest: the data set.
        split: its clips, those to learn from and those to evaluate on.
    """

    recipe: Recipe
    manifest: Manifest
    split: Split

    def plan(self) -> dict[str, Any]:
        """Return all that the result depends on, as it stands in the run's record."""
        return {
            "n_processes": processes.n_processes(),
            "recipe": to_dict(self.recipe),
            "data": {
                **data_marks(self.manifest),
                "held_out": self.split.name,
                "n_training": len(self.split.training),
                "n_held_out": len(self.split.held_out),
            },
            "teachers": fingerprints(self.recipe, self.split.name),
        }

    def new_front_end(self, cache: ClipCache) -> FrontEnd:
        """Return the recipe's front end with the statistics that the run uses.

        Args:
            cache: the training clips, which are measured if the recipe says so.

        Raises:
            AudioError: a clip cannot be read.
        """
        front_end = self.recipe.front_end
        if not self.recipe.measure_statistics:
            return front_end
        found = processes.from_first(lambda: measure(cache, front_end))
        return replace(front_end, mean=found.mean, std=found.std)

    def new_model(self, front_end: FrontEnd) -> AudioModel:
        """Return the model with its first weights, which the seed decides.

        Args:
            front_end: how its input is made.

        Raises:
            ConfigError: there is no such model, or the recipe wants of it what it cannot do.
        """
        recipe = self.recipe
        torch.manual_seed(recipe.seed)
        model = models.create(
            recipe.model,
            **recipe.model_changes,
            n_classes=len(self.manifest.labels),
            n_mels=front_end.n_mels,
            n_frames=front_end.n_frames,
        )
        if recipe.ood_limit is not None:  # what is measured after training must be possible
            if not isinstance(model.head, nn.Linear):
                raise ConfigError(
                    f"ood_limit is {recipe.ood_limit}, but the head of "
                    f"{recipe.model} does not read one vector per clip; set ood_limit to "
                    "none"
                )
            check_enough_clips(len(self.split.training), model.head.in_features)
        return model

    def evaluation_set(self, clips: Clips, front_end: FrontEnd) -> EvaluationDataset:
        """Return clips as the model reads them when it is evaluated.

        Args:
            clips: some of the data set's.
            front_end: how the model's input is made.
        """
        pad = not models.MODELS[self.recipe.model].any_length
        return EvaluationDataset(clips, self.manifest.targets(clips), front_end, pad=pad)

    def own_held_out(self, front_end: FrontEnd) -> EvaluationDataset:
        """Return this process's share of the held-out clips, of n processes each n-th one.

        Args:
            front_end: how the model's input is made.

        Raises:
            AudioError: a clip cannot be read.
        """
        share = slice(processes.rank(), None, processes.n_processes())
        found = self.evaluation_set(self.split.held_out[share], front_end)
        for index in range(min(len(found), found.n_kept)):
            found[index]  # broken files are found now, not after the first epoch
        for clip in found.clips[found.n_kept :]:
            if clip.digest is None:
                check_header(clip)
        return found

    def check_training_clips(self, *, is_new: bool) -> None:
        """Look at the headers of this process's share of clips that nobody has read before.

        Args:
            is_new: whether the run begins now; clips of one's own must not be silent then.

        Raises:
            AudioError: a clip cannot be read.
            DataError: classes are silent.
        """
        for clip in self.split.training[processes.rank() :: processes.n_processes()]:
            if clip.digest is None:
                check_header(clip)
        if is_new and self.manifest.corpus is None:
            refuse_silence(self.split.training)

    def fit_ood_detector(self, checkpoint: Checkpoint) -> OODDetector | None:
        """Measure where the training clips' embeddings lie, if the recipe wants to know.

        Args:
            checkpoint: the trained model.
        """
        limit, front_end = self.recipe.ood_limit, checkpoint.front_end
        if limit is None or front_end is None:
            return None
        clips = self.split.training
        embeddings = predict(
            checkpoint.model,
            self.evaluation_set(clips, front_end),
            self.recipe.batch_size,
            checkpoint.model.embed,
        )
        return fit_ood_detector(embeddings, torch.from_numpy(self.manifest.targets(clips)), limit)


def data_marks(manifest: Manifest) -> dict[str, str]:
    """Return what tells a data set from what it was before a change.

    Args:
        manifest: the data set.

    Returns:
        A hash of its list; of a data set of one's own also one of what its files hold.

    Raises:
        AudioError: a file cannot be read.
    """
    marks = {"fingerprint": manifest.fingerprint}
    return marks if manifest.corpus else marks | {"contents": contents_of(manifest)}


def contents_of(manifest: Manifest) -> str:
    """Return a hash of what the files of all clips hold.

    Args:
        manifest: the data set.

    Returns:
        64 hexadecimal digits.

    Raises:
        AudioError: a file cannot be read.
    """
    of_file: dict[tuple[str, str], str] = {}
    found = sha256()
    for clip in manifest.clips:
        recording = str(clip.path), clip.key
        if recording not in of_file:
            of_file[recording] = digest_of(clip)
        found.update(of_file[recording].encode())
    return found.hexdigest()


def open_task(
    recipe: Recipe,
    data: Path | Manifest,
    *,
    fold: int | None,
    train_on_all: bool,
    out: Path | None = None,
) -> Task:
    """Read the list of a data set's clips, and decide which are held out.

    Args:
        recipe: how a run learns.
        data: as for fit.
        fold: as for fit.
        train_on_all: as for fit.
        out: as for fit; it is no class.

    Returns:
        The task.

    Raises:
        ConfigError: both a fold and all clips are asked for, or the loss does not suit the labels.
        DataError: the data set is not what it should be.
    """
    if fold is not None and train_on_all:
        raise ConfigError(f"fold is {fold} and train_on_all is set; choose one of them")
    if isinstance(data, Manifest):
        manifest = data
        manifest.check()
    else:
        manifest = open_manifest(data, recipe.corpus, leave_out=out)
    processes.warn([*manifest.notes, *manifest.warnings()])
    if manifest.corpus is None and len(manifest.labels) < 2 and manifest.single_label:
        raise DataError(
            f"all clips are labeled {manifest.labels[0]!r}; expected at least 2 classes, or clips "
            "without a label in a column labels"
        )
    if recipe.loss == "ce" and not manifest.single_label:
        raise ConfigError("the loss is 'ce' but some clips have several labels or none; use 'bce'")
    held_out = NOTHING if train_on_all else None if fold is None else str(fold)
    split = split_clips(manifest, held_out, recipe.seed)
    return Task(recipe=recipe, manifest=manifest, split=split)
