"""How the learning rate goes over a run."""

from dataclasses import dataclass
from typing import Literal

from audiomamba.config import Fraction, NotNegative, check
from audiomamba.errors import ConfigError

__all__ = ["Schedule"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The course of the learning rate, as shares of the recipe's learning rate.

    Args:
        kind: after the warm-up, "cosine" falls along half a cosine to the recipe's
            final_lr_fraction; "multi-step" multiplies by drop_factor when drop_after epochs are
            over, and every drop_every epochs from then on; "by-epoch" takes a share for each epoch.
        stepped: whether the rate is set anew for every "step" or for every "epoch".
        warmup_steps: length of the warm-up in optimizer steps; None for the recipe's warmup_epochs.
        warmup_every: during the warm-up the rate is set anew every so many steps.
        warmup_from: share at the first step, from where the rate rises linearly to 1 at the end of
            the warm-up; None to begin one step up from 0.
        drop_after: "multi-step": epochs before the first drop.
        drop_every: "multi-step": epochs from one drop to the next.
        drop_factor: "multi-step": what the rate is multiplied by.
        shares: "by-epoch": shares of the first epochs; the last one holds to the end.

    Raises:
        ConfigError: a setting is out of its range, or two do not go together.

    Examples:
        >>> Schedule(kind="by-epoch", shares=(1.0, 0.1)).kind
        'by-epoch'
    """

    kind: Literal["cosine", "multi-step", "by-epoch"] = "cosine"
    stepped: Literal["step", "epoch"] = "step"
    warmup_steps: NotNegative | None = None
    warmup_every: int = 1
    warmup_from: Fraction | None = None
    drop_after: int = 10
    drop_every: int = 5
    drop_factor: Fraction = 0.5
    shares: tuple[Fraction, ...] | tuple[()] = ()

    def __post_init__(self) -> None:
        check(self)
        if (self.kind == "by-epoch") != bool(self.shares):
            raise ConfigError(
                f"kind is {self.kind!r} and there are {len(self.shares)} shares; "
                "expected shares for kind 'by-epoch' and for no other"
            )
