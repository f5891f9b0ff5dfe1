"""What is learnt from images: how a batch is made, what its loss is, and how a model scores."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from audiomamba import models
from audiomamba.errors import ConfigError, DataError
from audiomamba.models import Vim
from audiomamba.vision import zoo
from audiomamba.vision.data.dataset import ImageSet, Target
from audiomamba.vision.data.images import normed, resize
from audiomamba.vision.detector import Detector
from audiomamba.vision.records import Detections, Instances
from audiomamba.vision.scores import Confusion, average_precision
from audiomamba.vision.segmenter import Segmenter
from audiomamba.vision.training.augment import augment, plain
from audiomamba.vision.training.recipe import ImageRecipe

__all__ = ["TASKS", "Task"]

Example = tuple[Tensor, Target]


class Task(ABC):
    """What a model of images learns.

    Args:
        recipe: how.
        n_classes: how many classes there are.
    """

    def __init__(self, recipe: ImageRecipe, n_classes: int) -> None:
        self.recipe, self.n_classes = recipe, n_classes

    def new_model(self) -> nn.Module:
        """Make the model with fresh weights."""
        return zoo.create(self.recipe.model, n_classes=self.n_classes, **self.recipe.changes)

    @staticmethod
    def vary(
        image: Tensor, target: Target, recipe: ImageRecipe, rng: Generator
    ) -> tuple[Tensor, Target]:
        """Change an image and its target by chance, as the recipe says."""
        return augment(image, target, recipe.augmentation, rng)

    @abstractmethod
    def loss(self, model: Any, batch: Sequence[Example], rng: Generator) -> Tensor:
        """How wrong a model is about a batch.

        Args:
            model: the model.
            batch: images and targets, as `vary` gives them.
            rng: for what is drawn for the batch as a whole.
        """

    @abstractmethod
    def evaluate(self, model: Any, images: ImageSet) -> dict[str, float]:
        """Score a model, in evaluation mode, on images as they are."""


class Classification(Task):
    """One class for each image."""

    def new_model(self) -> nn.Module:
        """Make the model with fresh weights."""
        height, width = self.recipe.augmentation.size
        changes = {"n_mels": height, "n_frames": width, **self.recipe.changes}
        model = models.create(self.recipe.model, n_classes=self.n_classes, **changes)
        if model.config.reads_sound:
            raise ConfigError(f"{self.recipe.model} reads sound; choose a model of images")
        return model

    def loss(self, model: Any, batch: Sequence[Example], rng: Generator) -> Tensor:
        """Cross entropy with the labels of all images that are mixed."""
        images = torch.stack([image for image, _ in batch])
        labels = torch.tensor([target for _, target in batch], device=images.device)
        smooth = self.recipe.smoothing
        truth = F.one_hot(labels, self.n_classes) * (1 - smooth) + smooth / self.n_classes
        images, truth = mix(images, truth, self.recipe, rng)
        share = self.recipe.augmentation.reverse
        is_reversed = share > 0 and torch.rand((), generator=rng).item() < share
        with _from_the_end(model) if is_reversed else nullcontext():
            logits = model(images)
        loss: Tensor = -(truth * logits.log_softmax(dim=1)).sum(dim=1).mean()
        return loss

    def evaluate(self, model: Any, images: ImageSet) -> dict[str, float]:
        """The share of images whose class is the first found."""
        right = 0
        for index in range(len(images)):
            image, target = images[index]
            scores = model(plain(image, self.recipe.augmentation)[None])
            right += int(scores.argmax(dim=1).item() == target)
        return {"accuracy": right / len(images)}


class Segmentation(Task):
    """A class for each pixel."""

    def loss(self, model: Segmenter, batch: Sequence[Example], rng: Generator) -> Tensor:  # noqa: ARG002
        """The loss of both heads."""
        if len(batch) < 2:
            raise ConfigError("batch_size is 1; UPerNet's head norms over images: use at least 2")
        images = torch.stack([image for image, _ in batch])
        return model.loss(images, torch.stack([as_map(target) for _, target in batch]))

    def evaluate(self, model: Segmenter, images: ImageSet) -> dict[str, float]:
        """Mean intersection over union, in the size of the annotations."""
        counts = Confusion(self.n_classes)
        for index in range(len(images)):
            image, target = images[index]
            truth = as_map(target)
            counts.add(segment(model, image, self.recipe), truth)
        return counts.scores()


class SoundSegmentation(Segmentation):
    """A class for each band and moment of a sound."""

    @staticmethod
    def vary(
        image: Tensor,
        target: Target,
        recipe: ImageRecipe,  # noqa: ARG004
        rng: Generator,  # noqa: ARG004
    ) -> tuple[Tensor, Target]:
        """Leave features as they are: what a mixture has is drawn already."""
        return image, target

    def evaluate(self, model: Segmenter, images: ImageSet) -> dict[str, float]:
        """Mean intersection over union of the cells of spectrograms."""
        counts = Confusion(self.n_classes)
        for index in range(len(images)):
            features, target = images[index]
            with torch.inference_mode():
                counts.add(model(features[None])[0].argmax(dim=0), as_map(target))
        return counts.scores()


class Detection(Task):
    """Objects with boxes and masks."""

    def loss(self, model: Detector, batch: Sequence[Example], rng: Generator) -> Tensor:  # noqa: ARG002
        """The sum of the losses of all heads."""
        losses = model.losses([image for image, _ in batch], [as_objects(t) for _, t in batch])
        return torch.stack(list(losses.values())).sum()

    def evaluate(self, model: Detector, images: ImageSet) -> dict[str, float]:
        """COCO's average precision."""
        found, truth = [], []
        for index in range(len(images)):
            image, target = images[index]
            found.append(detect(model, image, self.recipe))
            truth.append(as_objects(target))
        return average_precision(found, truth, self.n_classes)


TASKS: dict[str, type[Task]] = {
    "classify": Classification,
    "segment": Segmentation,
    "segment-sound": SoundSegmentation,
    "detect": Detection,
}


def segment(model: Segmenter, image: Tensor, recipe: ImageRecipe) -> Tensor:
    """Find the class of each pixel of an image (3, height, width) from 0 to 1: (height, width)."""
    size = (image.shape[1], image.shape[2])
    scaled = normed(resize(image, _fitting(size, recipe)))
    if recipe.window is None:
        with torch.inference_mode():
            logits = model(scaled[None])[0]
    else:
        stride = recipe.window_stride or recipe.window
        logits = model.slide(scaled, recipe.window, stride)
    return resize(logits, size).argmax(dim=0)


def detect(model: Detector, image: Tensor, recipe: ImageRecipe) -> Detections:
    """Find the objects of an image (3, height, width) from 0 to 1, in its own pixels."""
    size = (image.shape[1], image.shape[2])
    scaled = normed(resize(image, _fitting(size, recipe)))
    [found] = model([scaled])
    down, across = (have / want for have, want in zip(size, scaled.shape[1:], strict=True))
    boxes = found.boxes * found.boxes.new_tensor([across, down, across, down])
    masks = found.masks
    if masks is not None:
        masks = resize(masks, size, nearest=True)
    return Detections(boxes, found.classes, found.scores, masks)


def mix(
    images: Tensor, truth: Tensor, recipe: ImageRecipe, rng: Generator
) -> tuple[Tensor, Tensor]:
    """Mix each image with another one of the batch: mixup, or a rectangle of it (CutMix).

    Args:
        images: (batch, 3, height, width).
        truth: (batch, classes), shares of each class.
        recipe: with the strengths of both; one of the two is chosen by chance.
        rng: decides.

    Returns:
        The two, mixed.

    Source: Zhang et al., "mixup" (2017); Yun et al., "CutMix" (2019).
    """
    how = recipe.augmentation
    kinds = {"mixup": how.mixup, "cutmix": how.cutmix}
    used = [name for name, alpha in kinds.items() if alpha]
    if not used:
        return images, truth
    chosen = used[int(torch.rand((), generator=rng) * len(used))]
    share = _beta(kinds[chosen], rng)
    others = images.flip(0)
    if chosen == "mixup":
        images = share * images + (1 - share) * others
    else:
        height, width = images.shape[2:]
        side = (1 - share) ** 0.5
        top, left = (
            int(torch.rand((), generator=rng).item() * (n + 1 - round(n * side)))
            for n in (height, width)
        )
        bottom, right = top + round(height * side), left + round(width * side)
        images = images.clone()
        images[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (height * width)
    return images, share * truth + (1 - share) * truth.flip(0)


def as_map(target: Target) -> Tensor:
    """A target as classes of pixels; DataError if it is none."""
    if isinstance(target, Tensor):
        return target
    raise DataError("the images have no class for each pixel; expected a set for segmentation")


def as_objects(target: Target) -> Instances:
    """A target as objects; DataError if it is none."""
    if isinstance(target, Instances):
        return target
    raise DataError("the images have no objects; expected a set for detection")


@contextmanager
def _from_the_end(model: nn.Module) -> Iterator[None]:
    """Let a Vim that reads one way read from the end while this lasts.

    Source: Zhu et al., "Vision Mamba" (2024), table 4, "bidirectional sequence".
    """
    if not isinstance(model, Vim) or model.config.direction != "fo-fo":
        raise ConfigError("augmentation.reverse is for a vim model with direction fo-fo only")
    mixers: list[Any] = [layer.mixer for layer in model.layers]
    for mixer in mixers:
        mixer.reverse = True
    try:
        yield
    finally:
        for mixer in mixers:
            mixer.reverse = False


def _fitting(size: tuple[int, int], recipe: ImageRecipe) -> tuple[int, int]:
    """The size of an image that is brought to the sides of the recipe."""
    how = recipe.augmentation
    longer, shorter = how.base or (max(how.size), min(how.size))
    factor = min(longer / max(size), shorter / min(size))
    height, width = (max(round(side * factor), 1) for side in size)
    return height, width


def _beta(alpha: float, rng: Generator) -> float:
    """A draw from Beta(alpha, alpha), by a generator that can be saved."""
    first, second = torch._standard_gamma(torch.tensor([alpha, alpha]), generator=rng).tolist()
    return float(first / (first + second))
