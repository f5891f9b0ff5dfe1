"""Learning from trained models beside the labels."""

from dataclasses import dataclass

from audiomamba.config import Fraction, Positive, check
from audiomamba.errors import ConfigError

__all__ = ["Distillation"]


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """What a model learns from trained models, its teachers.

    Where the recipe's loss is "ce", the teachers' part of the loss is the Kullback-Leibler
    divergence of the student's distribution from theirs, both at the temperature, times the
    temperature squared. Where it is "bce", it is the binary cross entropy of the student's scores
    with theirs, and the temperature softens theirs alone. The logits of several teachers are
    averaged. Of sounds of no class (Augment.negatives) only the labels are learned.

    Args:
        teachers: models that ship with the package, model folders, or folders of runs; none to
            learn from the labels alone. They know the classes of the data set, in any order. The
            text {fold} in a name stands for the split that is held out.
        weight: the teachers' share in the loss, 0 to 1; the rest is the labels'.
        temperature: the teachers' logits are divided by it; above 1 for softer targets.
        cache: None if the teachers hear every example with the student: the same piece of the same
            clips, as fast, as loud and mixed alike. Masks and what else is done to spectrograms is
            not done to theirs; where spectrograms are mixed, what the teachers say of each clip is
            mixed as its labels are. Else a folder: they hear every clip once, as it is, from its
            beginning to its end, and what they say is kept there, to be mixed as the labels are.

    Raises:
        ConfigError: a setting is out of its range.

    Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2,
    for the divergence; Schmid, Koutini, Widmer, "Efficient Large-scale Audio Tagging via
    Transformer-to-CNN Knowledge Distillation" (2023) and Bhati et al., "DASS" (2024), and their
    released code, for the binary cross entropy, and the former for the mean of logits, the default
    weight and targets from a file; Beyer et al., "Knowledge Distillation: A Good Teacher Is Patient
    and Consistent" (2022), for teachers that hear what the student hears.

    Examples:
        >>> Distillation(teachers=("general",), temperature=2.0).weight
        0.9
    """

    teachers: tuple[str, ...] | tuple[()] = ()
    weight: Fraction = 0.9
    temperature: Positive = 1.0
    cache: str | None = None

    def __post_init__(self) -> None:
        check(self)
        if not all(self.teachers):
            raise ConfigError("the name of a teacher is empty; expected a model or a folder")
