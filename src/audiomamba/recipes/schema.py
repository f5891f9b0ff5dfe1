"""What a recipe says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from audiomamba.audio.front_end import FrontEnd
from audiomamba.data.augment import Augment
from audiomamba.errors import ConfigError

__all__ = ["Recipe"]

RANGES: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (("epochs", "batch_size", "evaluate_every"), lambda value: value >= 1, "at least 1"),
    (("learning_rate", "clip_norm"), lambda value: value > 0, "more than 0"),
    (("weight_decay", "warmup_epochs", "seed"), lambda value: value >= 0, "0 or more"),
    (("label_smoothing", "final_lr_fraction"), lambda value: 0 <= value <= 1, "0 to 1"),
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that determines a training run but the clips themselves.

    Args:
        name: corpus and variant, such as "esc10/starter".
        corpus: how the data set is laid out: a name of audiomamba.data.CORPORA.
        model: name of the model.
        model_changes: fields of the model's config with other values than the model's own; the
            number of classes and the size of the input are set by the run.
        front_end: how the model's input is made.
        training_frames: frames of a training example, for models that read any length: shorter
            pieces than front_end.n_frames show a clip from more sides in the same time. None for
            front_end.n_frames. Evaluation is on front_end.n_frames.
        measure_statistics: whether the front end's mean and std are measured on the training clips
            when the run starts; otherwise those of front_end are used.
        augment: what is done to training clips.
        loss: "bce" for independent labels, "ce" for exactly one of them.
        label_smoothing: this share of every label vector is replaced by 1 / classes everywhere.
        epochs: passes over the training clips.
        batch_size: clips per step.
        learning_rate: its highest value.
        betas: AdamW's averaging constants.
        weight_decay: on weight matrices and convolution kernels only: norms, biases, positions,
            tokens and the scan's A and D are left alone.
        warmup_epochs: the learning rate rises linearly for this long.
        final_lr_fraction: afterwards it falls along half a cosine to this share of its highest.
        clip_norm: gradients longer than this are shortened to it.
        ema_decay: a moving average of the weights is kept, with this decay per step; None for none.
        familiarity_limit: lower the scores of sounds that lie further than this from all classes;
            see models.familiarity. None for scores as they are. It needs more training clips than
            an embedding has channels.
        precision: "bfloat16" for automatic mixed precision in training. Evaluation is in float32.
        evaluate_every: the held-out clips are evaluated after every so many epochs, and at the end.
        seed: decides the initial weights, the order of the clips and all augmentation.

    Raises:
        ConfigError: a setting is out of its range, or two do not go together.
    """

    name: str
    corpus: str
    model: str
    model_changes: Mapping[str, bool | int | float | str | tuple[int, ...]] = field(
        default_factory=dict
    )
    front_end: FrontEnd = field(default_factory=FrontEnd)
    training_frames: int | None = None
    measure_statistics: bool = True
    augment: Augment = field(default_factory=Augment)
    loss: Literal["bce", "ce"] = "ce"
    label_smoothing: float = 0.0
    epochs: int
    batch_size: int = 16
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.05
    warmup_epochs: int = 5
    final_lr_fraction: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float | None = None
    familiarity_limit: float | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    evaluate_every: int = 1
    seed: int = 0

    def training_front_end(self, front_end: FrontEnd) -> FrontEnd:
        """Change a front end to the length of the training examples.

        Args:
            front_end: the front end of evaluation, statistics included.

        Returns:
            The same with training_frames for n_frames, if the recipe says so.
        """
        return replace(front_end, n_frames=self.training_frames or front_end.n_frames)

    def __post_init__(self) -> None:
        for names, fits, expected in RANGES:
            for name in names:
                if not fits(getattr(self, name)):
                    raise ConfigError(f"{name} is {getattr(self, name)}; expected {expected}")
        if self.training_frames is not None and self.training_frames < 1:
            raise ConfigError(f"training_frames is {self.training_frames}; expected at least 1")
        if self.familiarity_limit is not None and not self.familiarity_limit > 0:
            raise ConfigError(f"familiarity_limit is {self.familiarity_limit}; expected above 0")
        if not all(0 <= beta < 1 for beta in (*self.betas, self.ema_decay or 0.0)):
            raise ConfigError(
                f"betas are {self.betas} and ema_decay is {self.ema_decay}; "
                "expected at least 0 and less than 1"
            )
