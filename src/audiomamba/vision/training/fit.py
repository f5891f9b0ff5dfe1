"""One run on images: a recipe, a set, a folder.

An image of a step is drawn from the seed and the number of the step alone, so that a run that is
resumed from its saved state goes on as it would have without the interruption.

Where torchrun started several processes, each takes its share of every step's images, and their
gradients are averaged. The first process alone writes, and scores the result.
"""

import csv
import json
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from audiomamba import checkpoints
from audiomamba.atomic import replacing, write_json
from audiomamba.config import from_plain, to_plain
from audiomamba.errors import ConfigError, MissingDependencyError, RunFailedError, TrainingError
from audiomamba.outputs import sole_writer
from audiomamba.train.fitting import processes
from audiomamba.vision.data.dataset import ImageSet, Target
from audiomamba.vision.folder import ImageModel, save_images
from audiomamba.vision.records import Instances
from audiomamba.vision.start import start_from_classifier
from audiomamba.vision.training.recipe import ImageRecipe
from audiomamba.vision.training.schedule import rate_at, weight_groups
from audiomamba.vision.training.tasks import TASKS, Task

__all__ = ["fit_images"]

STATE, LOG, RECIPE = "state.pt", "log.csv", "recipe.json"
SAVED_EVERY_S = 300.0
IMAGE, BATCH, ORDER = range(3)  # what is drawn by chance


def fit_images(
    recipe: ImageRecipe,
    training: ImageSet,
    held_out: ImageSet | None,
    out: Path,
    *,
    n_workers: int = 0,
) -> dict[str, float]:
    """Train a model of images, or go on with a run.

    Args:
        recipe: how.
        training: what is learnt from.
        held_out: what the result is scored on; None for nothing.
        out: the run's folder; it becomes a model folder.
        n_workers: processes that read images beside this one.

    Returns:
        The scores on held_out.

    Raises:
        ConfigError: another call is writing to the folder, or a step's images cannot be divided
            among the processes.
        MissingDependencyError: Lightning is not installed.
        TrainingError: the folder holds a run of another recipe, or the loss is not finite.
        DataError: an image cannot be read, or the set is for another task.

    Examples:
        >>> from audiomamba import vision
        >>> from audiomamba.vision.data.shapes import shapes
        >>> from audiomamba.vision.training.recipes import get_recipe
        >>> recipe = get_recipe("shapes/segment").changed(steps=1, batch_size=2)
        >>> scores = fit_images(recipe, shapes("segment", 2, 32), None, Path("run"))
        >>> vision.load_images(Path("run")).recipe.steps
        1
    """
    if find_spec("lightning") is None:
        raise MissingDependencyError("lightning", "train", "training")
    with ExitStack() as stack:
        if processes.rank() == 0:
            stack.enter_context(sole_writer(out))
            out.mkdir(parents=True, exist_ok=True)
        stack.enter_context(processes.joined())
        processes.from_first(lambda: _claim(out, recipe))
        run = _Run(recipe, training, out)
        run.train(n_workers)
        return processes.from_first(lambda: _finish(run, held_out))


def _finish(run: "_Run", held_out: ImageSet | None) -> dict[str, float]:
    """Write the model folder, and the scores."""
    model = run.best()
    save_images(run.out, ImageModel(model, run.recipe, list(run.images.labels)))
    if held_out is None:
        return {}
    scores = run.task.evaluate(model, held_out)
    write_json(run.out / "scores.json", scores)
    return scores


class _Loss(nn.Module):
    """A model and what it learns, so that processes see one call."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, batch: list[tuple[Tensor, Target]], rng: Generator) -> Tensor:
        return self.task.loss(self.model, batch, rng)


class _Run:
    """A run on its way."""

    def __init__(self, recipe: ImageRecipe, images: ImageSet, out: Path) -> None:
        # Here, as Lightning takes long to import, and what only uses models does without.
        from lightning.fabric.plugins.precision import Precision

        from audiomamba.train.fitting.devices import new_fabric, synchronize_batch_norms

        self.recipe, self.images, self.out, self.step = recipe, images, out, 0
        self.n_own = _share(recipe.batch_size)
        torch.manual_seed(recipe.seed)
        self.task: Task = TASKS[recipe.task](recipe, len(images.labels))
        self.model: nn.Module = self.task.new_model().train()
        saved = _load(out / STATE) if (out / STATE).is_file() else None
        if saved is not None:
            self.model.load_state_dict(saved["model"])
        elif recipe.start is not None:
            source = checkpoints.load(checkpoints.find(recipe.start)).model
            target: Any = getattr(self.model, "backbone", None)
            start_from_classifier(self.model if target is None else target.model, source)  # type: ignore[arg-type]
        if processes.rank():  # or all processes drop the same
            torch.manual_seed(recipe.seed + processes.rank())
        self.fabric = new_fabric(Precision())
        synchronize_batch_norms(self.model)
        self.loss_of = self.fabric.setup_module(_Loss(self.task, self.model))
        self.optimizer = AdamW(weight_groups(self.model, recipe), lr=recipe.learning_rate)
        self.average = (
            AveragedModel(
                self.model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True
            )
            if recipe.ema
            else None
        )
        if saved is not None:
            self._resume(saved)

    def train(self, n_workers: int) -> None:
        """Make the steps that are left."""
        saved = time.monotonic()
        for batch in self._batches(n_workers):
            loss = self._learn(batch)
            if not math.isfinite(loss):
                raise RunFailedError(f"{self.out}: the loss of step {self.step} is not finite")
            self._note(loss)
            since = time.monotonic() - saved
            if processes.from_first(lambda since=since: since > SAVED_EVERY_S):  # type: ignore[misc]
                self._save()
                saved = time.monotonic()
        self._save()

    def best(self) -> nn.Module:
        """The averaged weights if there are some, else the last ones."""
        model = self.model if self.average is None else self.average.module
        return model.cpu().eval()

    def _learn(self, batch: list[tuple[Tensor, Target]]) -> float:
        rate = rate_at(self.recipe, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        rng = Generator().manual_seed(_seed(self.recipe, self.step, BATCH))
        device = self.fabric.device
        with torch.autocast(device.type, torch.bfloat16, self.recipe.precision == "bfloat16"):
            loss = self.loss_of([_on(device, *example) for example in batch], rng)
        self.fabric.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.step += 1
        [total] = processes.total([loss.item()])
        return total / processes.n_processes()

    def _batches(self, n_workers: int) -> Iterator[list[tuple[Tensor, Target]]]:
        size, first = self.recipe.batch_size, processes.rank() * self.n_own
        starts = range(self.step * size + first, self.recipe.steps * size, size)
        return iter(
            DataLoader(
                _Drawn(self.images, self.recipe),
                batch_sampler=(list(range(start, start + self.n_own)) for start in starts),
                collate_fn=list,
                num_workers=n_workers,
                generator=Generator(),  # or it draws from the one that the model draws from
            )
        )

    def _note(self, loss: float) -> None:
        if processes.rank():
            return
        rate = rate_at(self.recipe, self.step - 1)
        with (self.out / LOG).open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([self.step, f"{loss:.6g}", f"{rate:.6g}"])

    def _save(self) -> None:
        first, *others = processes.gather(torch.get_rng_state())
        if processes.rank():
            return
        state: dict[str, Any] = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "random": first,
            "random_of_others": others,
        }
        with replacing(self.out / STATE) as part:
            torch.save(state, part)

    def _resume(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        generators = [state["random"], *state.get("random_of_others", [])]
        if processes.rank() < len(generators):  # there may be more processes than before
            torch.set_rng_state(generators[processes.rank()])
        processes.from_first(self._forget_later_lines)

    def _forget_later_lines(self) -> None:
        """Take from the log what was learnt after the state was saved, and is learnt again."""
        log = self.out / LOG
        if log.is_file():
            lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
            with replacing(log) as part:
                part.write_text("".join(lines[: self.step]), encoding="utf-8")


class _Drawn(Dataset[tuple[Tensor, Target]]):
    """The images of all steps, one after the other, each changed as its number says."""

    def __init__(self, images: ImageSet, recipe: ImageRecipe) -> None:
        self.images, self.recipe = images, recipe

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        n, repeats = len(self.images), self.recipe.augmentation.repeats
        epoch, nth = divmod(index // repeats, n)
        order = torch.randperm(
            n, generator=Generator().manual_seed(_seed(self.recipe, epoch, ORDER))
        )
        image, target = self.images[int(order[nth])]
        rng = Generator().manual_seed(_seed(self.recipe, index, IMAGE))
        return TASKS[self.recipe.task].vary(image, target, self.recipe, rng)


def _load(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise TrainingError(f"{path}: cannot be read; delete it to start over") from error
    return state


def _share(batch_size: int) -> int:
    """How many images of a step this process takes."""
    n = processes.n_processes()
    if batch_size % n:
        raise ConfigError(f"batch_size is {batch_size}; expected a multiple of {n}, the processes")
    return batch_size // n


def _on(device: torch.device, image: Tensor, target: Target) -> tuple[Tensor, Target]:
    """An image and its target on a device."""
    if isinstance(target, Instances):
        masks = None if target.masks is None else target.masks.to(device)
        moved = Instances(target.boxes.to(device), target.classes.to(device), masks)
        return image.to(device), moved
    return image.to(device), target if isinstance(target, int) else target.to(device)


def _seed(recipe: ImageRecipe, index: int, kind: int) -> int:
    """A seed of its own for each purpose and index."""
    return hash((recipe.seed, index, kind)) % 2**63


def _claim(out: Path, recipe: ImageRecipe) -> None:
    """Write the recipe into the run's folder, or hold it against the one that is there."""
    path, plain = out / RECIPE, to_plain(recipe)
    if not path.exists():
        write_json(path, plain)
        return
    # Read as a recipe: one that an earlier version wrote may lack a field that has come since.
    if from_plain(ImageRecipe, json.loads(path.read_text(encoding="utf-8"))) != from_plain(
        ImageRecipe, plain
    ):
        raise TrainingError(f"{out}: holds a run of another recipe; choose another folder")
