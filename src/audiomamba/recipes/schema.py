"""What a recipe says."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from audiomamba.audio.front_end import FrontEnd
from audiomamba.config import Fraction, NotNegative, Positive, Range, check
from audiomamba.data.augment import Augment
from audiomamba.errors import ConfigError
from audiomamba.recipes.distillation import Distillation
from audiomamba.recipes.schedule import Schedule

__all__ = ["Recipe"]

Decay = Annotated[float, Range(0, 1, open_high=True)]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that determines a training run but the clips themselves.

    Args:
        name: corpus and variant, such as "esc10/starter".
        corpus: how the data set is laid out: a name of audiomamba.data.CORPORA.
        model: name of the model.
        model_changes: fields of the model's config with other values than the model's own; the
            number of classes and the size of the input are set by the run.
        init: weights to start from: a name of audiomamba.recipes.STARTS, a model that ships with
            the package, a model folder, or a weight file as its authors released it. Positions and
            patches are resized, weights of colors are merged, and a head for other classes stays
            fresh, as checkpoints.start_from says. None to start from scratch.
        freeze_batch_norm: whether batch norms keep the statistics that they start with, which those
            of small batches would only blur; their weights are trained.
        activation_checkpointing: whether what a block of the model computes is computed again in
            the backward pass and not kept: less memory, more time, the same gradients.
        front_end: how the model's input is made.
        training_frames: frames of a training example, for models that read any length: shorter
            pieces than front_end.n_frames show a clip from more sides in the same time. None for
            front_end.n_frames. Evaluation is on front_end.n_frames.
        measure_statistics: whether the front end's mean and std are measured on the training clips
            when the run starts; otherwise those of front_end are used.
        augment: what is done to training clips.
        sampling: "shuffled" for every clip once per epoch; "balanced" draws as many with
            replacement, weighted by how rare their labels are, as AST and AuM do; "by-class" takes
            a random clip of every class in turn, as HTS-AT does.
        loss: "bce" for independent labels, "ce" for exactly one of them.
        label_smoothing: this share of every label vector is replaced by 1 / classes everywhere.
        distillation: what is learned from trained models beside the labels.
        epochs: passes over the training clips.
        batch_size: clips per step and process, or with accumulate per part of a step.
        accumulate: the gradients of so many batches are averaged for one step of the optimizer.
        optimizer: "adamw" shrinks weights directly; "adam" adds weight_decay times the weights to
            the gradients, as AST and AuM do.
        learning_rate: its highest value.
        betas: the optimizer's averaging constants.
        weight_decay: how much.
        decayed: "matrices" for weight matrices and convolution kernels only: norms, biases,
            positions, tokens and the scan's A and D are left alone. "all" for all weights, as the
            authors of AST, AuM and HTS-AT do.
        warmup_epochs: the learning rate rises linearly for this long.
        final_lr_fraction: afterwards it falls along half a cosine to this share of its highest.
        schedule: other courses of the learning rate.
        clip_norm: gradients longer than this are shortened to it; None for no limit.
        ema_decay: a moving average of the weights is kept, with this decay per step; None for none.
        swa_epochs: the run hands over the mean of the weights after each of the last so many
            epochs (stochastic weight averaging); 0 for the last weights.
        ood_limit: lower the scores of sounds that lie further than this from all classes;
            see models.ood. None for scores as they are. It needs more training clips than
            an embedding has channels.
        precision: "bfloat16" or "float16" for automatic mixed precision in training; the state of
            the scans is in float32 all the same. Evaluation is in float32.
        evaluate_every: the held-out clips are evaluated after every so many epochs, and at the end.
        best_by: the metric of the held-out clips that decides which epoch was best.
        patience: the run ends when that metric has not risen for so many evaluations; None to go on
            to the last epoch.
        seed: decides the initial weights, the order of the clips and all augmentation.

    Raises:
        ConfigError: a setting is out of its range, or two do not go together.

    Examples:
        >>> Recipe(name="mine", corpus="own", model="conv_aum_tiny", epochs=30).learning_rate
        0.001
    """

    name: str
    corpus: str
    model: str
    model_changes: Mapping[str, bool | int | float | str | tuple[int, ...]] = field(
        default_factory=dict
    )
    init: str | None = None
    freeze_batch_norm: bool = False
    activation_checkpointing: bool = False
    front_end: FrontEnd = field(default_factory=FrontEnd)
    training_frames: int | None = None
    measure_statistics: bool = True
    augment: Augment = field(default_factory=Augment)
    sampling: Literal["shuffled", "balanced", "by-class"] = "shuffled"
    loss: Literal["bce", "ce"] = "ce"
    label_smoothing: Fraction = 0.0
    distillation: Distillation = field(default_factory=Distillation)
    epochs: int
    batch_size: int = 16
    accumulate: int = 1
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: Positive = 1e-3
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    weight_decay: float = 0.05
    decayed: Literal["matrices", "all"] = "matrices"
    warmup_epochs: NotNegative = 5
    final_lr_fraction: Fraction = 0.01
    schedule: Schedule = field(default_factory=Schedule)
    clip_norm: Positive | None = 1.0
    ema_decay: Decay | None = None
    swa_epochs: NotNegative = 0
    ood_limit: Positive | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    evaluate_every: int = 1
    best_by: Literal["accuracy", "mean_average_precision"] = "accuracy"
    patience: int | None = None
    seed: NotNegative = 0

    def training_front_end(self, front_end: FrontEnd) -> FrontEnd:
        """Change a front end to the length of the training examples.

        Args:
            front_end: the front end of evaluation, statistics included.

        Returns:
            The same with training_frames for n_frames, if the recipe says so.
        """
        return replace(front_end, n_frames=self.training_frames or front_end.n_frames)

    def __post_init__(self) -> None:
        check(self)
        if self.swa_epochs > self.epochs or (self.swa_epochs and self.ema_decay):
            raise ConfigError(
                f"swa_epochs is {self.swa_epochs}, epochs {self.epochs} and ema_decay "
                f"{self.ema_decay}; expected 0 to epochs, and not both kinds of average"
            )
