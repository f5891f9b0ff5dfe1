"""How a student learns from the examples that a teacher has labelled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from audiomamba.config import Fraction, NotNegative, Positive, Range, check
from audiomamba.errors import ConfigError

__all__ = ["GENERAL", "StudentRecipe"]

Decay = Annotated[float, Range(0, 1, open_high=True)]


@dataclass(frozen=True, kw_only=True)
class StudentRecipe:
    """A student's training, from the first step to the last.

    The loss is the binary cross entropy of the student's scores with the teacher's, summed over the
    labels, and what the student's embedding lacks of the teacher's: of both, standardized, the
    cosine and the squared difference.

    Args:
        model: the student.
        model_changes: changes to its settings.
        start: whether it starts from what it can use of the teacher's weights.
        frozen: beginnings of the names of weights that stay as they are; None for none.
        steps: how many.
        batch_size: examples per step, all of one length.
        learning_rate: of fresh weights.
        taken_learning_rate: of weights that are taken from the teacher.
        weight_decay: of AdamW, of fresh weights.
        betas: of AdamW.
        warmup_steps: steps in which the rates rise.
        falling: share of the steps at the end in which the rates fall to 0.
        ema_decay: of the moving average of the weights, which is what is handed over.
        mixup: share of steps in which examples are mixed in pairs once more, as features.
        masked: share of steps in which a part of time is replaced by its mean.
        cosine_weight: of the cosine in the loss.
        difference_weight: of the squared difference in the loss.
        clip_norm: largest norm of the gradient.
        look_every: steps after which examples that have been added are taken in.
        seed: decides the order of the examples, and the fresh weights.

    Raises:
        ConfigError: a setting is out of its range.

    Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network" (2015); Schmid,
    Koutini, Widmer, "Efficient Large-scale Audio Tagging via Transformer-to-CNN Knowledge
    Distillation" (2023), for scores as targets; Zhang et al., "mixup" (2018).

    Examples:
        >>> StudentRecipe(steps=100).falling
        0.35
    """

    model: str = "mobile_aum_small"
    model_changes: Mapping[str, bool | int | float | str | tuple[int, ...]] = field(
        default_factory=dict
    )
    start: bool = True
    frozen: tuple[str, ...] | None = ("stem.", *(f"blocks.{index}." for index in range(4)))
    steps: int = 10_000
    batch_size: int = 32
    learning_rate: Positive = 1.5e-3
    taken_learning_rate: float = 2e-4
    weight_decay: float = 0.03
    betas: tuple[Decay, Decay] = (0.9, 0.98)
    warmup_steps: int = 200
    falling: Fraction = 0.35
    ema_decay: Decay = 0.999
    mixup: Fraction = 0.3
    masked: Fraction = 1.0
    cosine_weight: float = 5.0
    difference_weight: float = 0.5
    clip_norm: Positive = 5.0
    look_every: int = 500
    seed: NotNegative = 0

    def __post_init__(self) -> None:
        check(self)
        if not all(self.frozen or ("none",)):
            raise ConfigError("a name in frozen is empty; expected names of weights, or none")


GENERAL = StudentRecipe()
