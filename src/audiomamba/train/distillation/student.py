"""A student that learns from examples in files: the steps, and how a run goes on."""

import json
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW

from audiomamba import models
from audiomamba.atomic import replacing, write_json
from audiomamba.checkpoints.start import start_from
from audiomamba.config import to_plain
from audiomamba.errors import ConfigError, RunFailedError, TrainingError
from audiomamba.models import AudioModel
from audiomamba.progress import Progress
from audiomamba.provenance import commit, versions
from audiomamba.recipes.student import StudentRecipe
from audiomamba.train.distillation.example_shards import Examples, ExampleShards
from audiomamba.train.distillation.examples import TRAINING
from audiomamba.train.distillation.teacher_model import TeacherModel

__all__ = ["RECORD", "STATE", "StudentRun", "new_student", "read_state", "train_student"]

STATE, RECORD, METRICS = "state.ckpt", "run.json", "metrics.jsonl"
STATE_KEYS = {"step", "shards", "student", "average", "optimizer", "statistics"}
SAVE_EVERY_S = 300.0
REPORT_EVERY = 100  # steps
SPREAD = 0.05  # added to a standard deviation, so that what hardly varies does not count most
EMA_START = 10  # steps over which the average begins to be one


@dataclass(frozen=True, kw_only=True)
class StudentRun:
    """How a student's training ended.

    Args:
        folder: the run's folder.
        steps: all that were done, those of earlier calls included.
        examples: how many examples there were to draw from.
        examples_per_s: how many this call has learned from in a second; 0 if it did nothing.
        loss: the mean loss of the last steps; None if this call did nothing.
    """

    folder: Path
    steps: int
    examples: int
    examples_per_s: float
    loss: float | None


def train_student(
    examples: Path,
    teacher: str,
    out: Path,
    recipe: StudentRecipe = StudentRecipe(),  # noqa: B008  # immutable
    *,
    save_every_s: float = SAVE_EVERY_S,
    progress: Progress | None = None,
) -> StudentRun:
    """Train a student on what make_examples has written, or go on with it.

    On one thread of one machine a run that was interrupted gives bit for bit what it would have
    given. Files that are added while it runs are taken in; when, is decided by the step.

    Args:
        examples: the folder of the examples.
        teacher: as for make_examples: its weights, labels and front end are the start.
        out: folder for the state, metrics and the record; it is made.
        recipe: how.
        save_every_s: how often the state is saved.
        progress: called with the number of steps that are done, and of all.

    Returns:
        How it ended.

    Raises:
        ConfigError: the student does not fit the teacher.
        TrainingError: there are no examples, they are of another teacher, the folder holds another
            run, or the loss is not finite.
    """
    teacher_model = TeacherModel(teacher)
    run = _Run(teacher_model, recipe, examples / TRAINING, out)
    run.open()
    began, first = time.perf_counter(), run.step
    saved, losses = began, []
    while run.step < recipe.steps:
        losses.append(run.next())
        if run.step % REPORT_EVERY == 0 or run.step == recipe.steps:
            run.report(losses, time.perf_counter() - began)
        if time.perf_counter() - saved >= save_every_s or run.step == recipe.steps:
            run.save()
            saved = time.perf_counter()
        if progress is not None:
            progress(run.step, recipe.steps)
    n_heard = (run.step - first) * recipe.batch_size
    return StudentRun(
        folder=out,
        steps=run.step,
        examples=len(run.shards),
        examples_per_s=n_heard / (time.perf_counter() - began) if n_heard else 0.0,
        loss=float(np.mean(losses[-REPORT_EVERY:])) if losses else None,
    )


def new_student(
    teacher_model: TeacherModel, recipe: StudentRecipe
) -> tuple[AudioModel, frozenset[str]]:
    """Make the student at its first step.

    Args:
        teacher_model: the teacher.
        recipe: what student.

    Returns:
        The student, and the names of the weights that it took from the teacher.

    Raises:
        ConfigError: it does not read any length, or its embedding has another size than the
            teacher's.
        CheckpointError: it cannot start from the teacher.
    """
    front_end = teacher_model.checkpoint.front_end
    if front_end is None:
        raise ConfigError(f"{teacher_model.checkpoint.name} is a model of images")
    torch.manual_seed(recipe.seed)
    about = {"n_classes": len(teacher_model.checkpoint.labels), "n_mels": front_end.n_mels}
    student = models.create(
        recipe.model, **about, n_frames=front_end.n_frames, **recipe.model_changes
    )
    taken = start_from(student, teacher_model.source).taken if recipe.start else ()
    own, theirs = (_embedding_size(it) for it in (student, teacher_model.checkpoint.model))
    if own != theirs or not student.config.any_length:
        raise ConfigError(
            f"{recipe.model} has embeddings of {own} numbers; expected a model that reads any "
            f"length, with {theirs} as the teacher"
        )
    return student, frozenset(taken)


@torch.inference_mode()
def _embedding_size(model: AudioModel) -> int:
    sound = torch.zeros(1, model.config.n_frames, model.config.n_mels)
    return model.eval().embed(sound).shape[1]


def read_state(path: Path) -> dict[str, Any]:
    """Read what a run has saved.

    Args:
        path: the file.

    Returns:
        What was saved.

    Raises:
        TrainingError: the file cannot be read.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        keys = state.keys()
    except (OSError, RuntimeError, AttributeError, EOFError, UnpicklingError) as error:
        raise TrainingError(f"{path}: cannot be read; delete it to start over") from error
    missing = sorted(STATE_KEYS - keys)
    if missing:
        raise TrainingError(f"{path}: holds no {missing[0]}; delete it to start over")
    return state


@dataclass
class _Run:
    """A run at some step."""

    teacher_model: TeacherModel
    recipe: StudentRecipe
    folder: Path
    out: Path
    step: int = 0
    shards: ExampleShards = field(init=False)

    def __post_init__(self) -> None:
        self.shards = ExampleShards(self.folder, self.teacher_model.fingerprint)
        self.student, taken = new_student(self.teacher_model, self.recipe)
        # Batch norms keep the teacher's statistics, and nothing is dropped at random.
        self.student.eval()
        for name, weight in self.student.named_parameters():
            weight.requires_grad_(not name.startswith(self.recipe.frozen or ()))
        self.average = deepcopy(self.student).requires_grad_(False)
        self.optimizer = _new_optimizer(self.student, taken, self.recipe)
        learned = [name for name, weight in self.student.named_parameters() if weight.requires_grad]
        own, means = (dict(it.named_parameters()) for it in (self.student, self.average))
        self.weights: list[Tensor]
        self.means: list[Tensor]
        self.weights, self.means = (
            [own[name] for name in learned],
            [means[name] for name in learned],
        )
        self.mean, self.std = torch.zeros(1), torch.ones(1)

    def open(self) -> None:
        """Begin, or go on where the folder is."""
        about = {"recipe": to_plain(self.recipe), "teacher": self.teacher_model.fingerprint}
        record, state = self.out / RECORD, self.out / STATE
        if record.exists():
            _check_same(record, about)
        if state.exists():
            self._load(state)
            return
        self.shards.take(self.shards.there())
        if not len(self.shards):
            raise TrainingError(f"{self.folder}: no examples there; make some first")
        self.mean, self.std = self.shards.statistics()
        if not record.exists():
            self.out.mkdir(parents=True, exist_ok=True)
            write_json(record, {**about, "versions": versions(), "commit": commit()})

    def next(self) -> float:
        """Make one step; its loss."""
        recipe = self.recipe
        if self.step and self.step % recipe.look_every == 0:
            self.shards.take(self.shards.there())
        draw = np.random.default_rng([recipe.seed, self.step])
        loss = self._loss(_changed(draw, self._batch(draw), recipe))
        if not torch.isfinite(loss):
            raise RunFailedError(f"the loss is {loss.item()} at step {self.step}; lower the rates")
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.weights, recipe.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * _rate(recipe, self.step)
        self.optimizer.step()
        decay = min(recipe.ema_decay, (self.step + 1) / (self.step + EMA_START))
        with torch.no_grad():
            torch._foreach_lerp_(self.means, self.weights, 1 - decay)
        self.step += 1
        return loss.item()

    def report(self, losses: list[float], seconds: float) -> None:
        """Write one line of metrics."""
        line = {
            "step": self.step,
            "loss": round(float(np.mean(losses[-REPORT_EVERY:])), 5),
            "examples": len(self.shards),
            "examples_per_s": round(len(losses) * self.recipe.batch_size / seconds, 1),
        }
        with (self.out / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Save all that is needed to go on."""
        state = {
            "step": self.step,
            "shards": self.shards.taken,
            "student": self.student.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "statistics": (self.mean, self.std),
        }
        with replacing(self.out / STATE) as part:
            torch.save(state, part)

    def _load(self, path: Path) -> None:
        state = read_state(path)
        self.student.load_state_dict(state["student"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, (self.mean, self.std) = state["step"], state["statistics"]
        self.shards.take(state["shards"])
        _cut_metrics(self.out / METRICS, self.step)

    def _batch(self, draw: np.random.Generator) -> Examples:
        """Examples of one length, which is drawn by how many there are."""
        lengths = list(self.shards.of_length)
        counts = np.array([len(self.shards.of_length[it]) for it in lengths], dtype=float)
        of = self.shards.of_length[lengths[draw.choice(len(lengths), p=counts / counts.sum())]]
        return self.shards.batch(
            [of[it] for it in draw.integers(0, len(of), self.recipe.batch_size)]
        )

    def _loss(self, batch: Examples) -> Tensor:
        recipe = self.recipe
        embeddings = self.student.embed(batch.features)
        logits, scores = self.student.head(embeddings), batch.logits
        entropy = F.binary_cross_entropy(scores, scores, reduction="none")
        bce = F.binary_cross_entropy_with_logits(logits, scores, reduction="none") - entropy
        own, theirs = (
            (it - self.mean) / (self.std + SPREAD) for it in (embeddings, batch.embeddings)
        )
        cosine = 1 - F.cosine_similarity(own, theirs)
        difference = (own - theirs).square().mean(dim=1)
        loss: Tensor = (
            bce.sum(dim=1) + recipe.cosine_weight * cosine + recipe.difference_weight * difference
        ).mean()
        return loss


def _changed(draw: np.random.Generator, batch: Examples, recipe: StudentRecipe) -> Examples:
    """Mix pairs of examples and hide a part of time; logits become scores."""
    features, scores, embeddings = batch.features, batch.logits.sigmoid(), batch.embeddings
    if draw.random() < recipe.mixup:
        other = torch.from_numpy(draw.permutation(len(features)))
        share = float(draw.beta(0.5, 0.5))
        features, scores, embeddings = (
            share * it + (1 - share) * it[other] for it in (features, scores, embeddings)
        )
    n_frames = features.shape[1]
    if draw.random() < recipe.masked and n_frames > 12:
        width = int(draw.integers(1, max(2, n_frames // 6)))
        start = int(draw.integers(0, n_frames - width))
        features = features.clone()
        part = features[:, start : start + width]
        features[:, start : start + width] = part.mean(dim=1, keepdim=True)
    return Examples(features, scores.clamp(1e-6, 1 - 1e-6), embeddings)


def _rate(recipe: StudentRecipe, step: int) -> float:
    """The share of the learning rates at a step: up, level, down."""
    rising = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    left = (recipe.steps - step) / max(1, recipe.steps)
    return rising * min(1.0, left / max(recipe.falling, 1e-9))


def _new_optimizer(student: AudioModel, taken: frozenset[str], recipe: StudentRecipe) -> AdamW:
    """AdamW; weights of the teacher have a rate of their own, and do not shrink."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in student.named_parameters():
        if not weight.requires_grad:
            continue
        shrinks = weight.ndim > 1 and name.rpartition(".")[2] not in student.undecayed
        decay = recipe.weight_decay if shrinks and name not in taken else 0.0
        rate = recipe.taken_learning_rate if name in taken else recipe.learning_rate
        groups.setdefault((rate, decay), []).append(weight)
    if not groups:
        raise ConfigError("all weights are frozen; expected some to learn")
    rows = [
        {"params": weights, "lr": rate, "base": rate, "weight_decay": decay}
        for (rate, decay), weights in groups.items()
    ]
    return AdamW(rows, betas=recipe.betas)


def _check_same(path: Path, about: dict[str, Any]) -> None:
    """Refuse to go on with another run."""
    try:
        own = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read: {error}") from error
    for name, value in json.loads(json.dumps(about)).items():
        if own.get(name) != value:
            raise TrainingError(f"{path}: a run with another {name}; name another folder")


def _cut_metrics(path: Path, step: int) -> None:
    """Forget what was reported after the state was saved."""
    if path.exists():
        lines = list(_complete(path))
        kept = [line for line in lines if json.loads(line)["step"] <= step]
        with replacing(path) as part:
            part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _complete(path: Path) -> Iterator[str]:
    """The lines that were written to their end."""
    text = path.read_text(encoding="utf-8")
    yield from text[: text.rfind("\n") + 1].splitlines()
