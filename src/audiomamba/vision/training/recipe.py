"""All that a run on images depends on, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from audiomamba.audio import FrontEnd
from audiomamba.config import Fraction, NotNegative, Positive, check
from audiomamba.errors import ConfigError

__all__ = ["Augmentation", "Decay", "ImageRecipe"]

Decay = Literal["none", "all", "embeddings"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How an image is changed before a model learns from it.

    Args:
        size: (height, width) of what the model reads.
        scale: smallest and largest factor by which an image is resized before it is cut out.
        base: (longer, shorter) side that an image fits into at factor 1; None for `size`.
        resize: "fit" keeps the image's form and cuts or pads; "random-area" cuts a part of random
            area and form, which fills `size`, as for classification.
        flip: probability of mirroring.
        colour: largest change of brightness and contrast, as a share; 0 for none.
        rand_augment: strength of RandAugment, from 0 (none) to 10.
        erase: probability of erasing a rectangle.
        mixup: alpha of mixup's Beta distribution; 0 for none.
        cutmix: alpha of CutMix's; 0 for none.
        reverse: probability that a Vim which reads one way only reads a batch from its end.
        repeats: how many times each image is in an epoch's batches, changed in other ways.

    Raises:
        ConfigError: a field has a value that its type does not allow.

    Examples:
        >>> Augmentation(size=(512, 512), scale=(0.5, 2.0)).flip
        0.5
    """

    size: tuple[int, int]
    scale: tuple[Positive, Positive] = (1.0, 1.0)
    base: tuple[int, int] | None = None
    resize: Literal["fit", "random-area"] = "fit"
    flip: Fraction = 0.5
    colour: Fraction = 0.0
    rand_augment: NotNegative = 0
    erase: Fraction = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    reverse: Fraction = 0.0
    repeats: int = 1

    def __post_init__(self) -> None:
        check(self)
        if self.scale[0] > self.scale[1]:
            raise ConfigError(f"scale is {self.scale}; expected the smaller factor first")


@dataclass(frozen=True, kw_only=True)
class ImageRecipe:
    """How a model of images learns.

    Args:
        task: what it learns.
        model: a name of `vision.names()`, or of `models.names()` to classify.
        changes: fields of the model's config that differ.
        augmentation: how images are changed.
        steps: steps of the optimizer.
        batch_size: images of a step, all processes together.
        learning_rate: the highest one.
        weight_decay: of matrices and kernels.
        layer_decay: the learning rate of each layer, as a share of that of the next one.
        decayed_layers: whose learning rate that changes: of all layers, or of the embeddings alone.
        schedule: "poly" falls along a line to 0, "cosine" along a cosine, "steps" at some points.
        drops: shares of the steps at which the rate falls to a tenth, for "steps".
        warmup_steps: steps in which the rate rises from (almost) 0.
        smoothing: of labels, when classifying.
        ema: decay of the averaged weights; 0 for none.
        start: a classifier to start from: a model folder, or a name that `audiomamba.load` takes.
        window: side of the windows in which large images are segmented; None for whole images.
        window_stride: pixels from one window to the next.
        front_end: how features are made of sound; None for images.
        precision: that of the steps.
        seed: decides all that is random.
        source: where the settings come from.

    Raises:
        ConfigError: a field has a value that its type does not allow.

    Examples:
        >>> crop = Augmentation(size=(512, 512))
        >>> recipe = ImageRecipe(
        ...     task="segment", model="vim_tiny_upernet", augmentation=crop,
        ...     steps=60_000, batch_size=32, learning_rate=2e-4, weight_decay=0.1)
        >>> recipe.schedule
        'poly'
    """

    task: Literal["classify", "segment", "detect", "segment-sound"]
    model: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Augmentation
    steps: int
    batch_size: int
    learning_rate: Positive
    weight_decay: float = 0.01
    layer_decay: Fraction = 1.0
    decayed_layers: Decay = "all"
    schedule: Literal["poly", "cosine", "steps"] = "poly"
    drops: tuple[Fraction, ...] | tuple[()] = ()
    warmup_steps: NotNegative = 1500
    smoothing: Fraction = 0.0
    ema: Fraction = 0.0
    start: str | None = None
    window: int | None = None
    window_stride: int | None = None
    front_end: FrontEnd | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: NotNegative = 0
    source: str = ""

    def __post_init__(self) -> None:
        check(self)

    def changed(self, **changes: Any) -> "ImageRecipe":
        """Copy the recipe with some fields changed, each checked."""
        return replace(self, **changes)
