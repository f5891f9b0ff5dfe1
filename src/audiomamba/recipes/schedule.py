"""How the learning rate goes over a run."""

from dataclasses import dataclass
from typing import Literal

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
    """

    kind: Literal["cosine", "multi-step", "by-epoch"] = "cosine"
    stepped: Literal["step", "epoch"] = "step"
    warmup_steps: int | None = None
    warmup_every: int = 1
    warmup_from: float | None = None
    drop_after: int = 10
    drop_every: int = 5
    drop_factor: float = 0.5
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("warmup_every", "drop_after", "drop_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.warmup_steps is not None and self.warmup_steps < 0:
            raise ConfigError(f"warmup_steps is {self.warmup_steps}; expected 0 or more")
        shares = (self.warmup_from or 0.0, self.drop_factor, *self.shares)
        if not all(0 <= share <= 1 for share in shares):
            raise ConfigError(
                f"warmup_from is {self.warmup_from}, drop_factor {self.drop_factor} and shares "
                f"{self.shares}; expected 0 to 1"
            )
        if (self.kind == "by-epoch") != bool(self.shares):
            raise ConfigError(
                f"kind is {self.kind!r} and there are {len(self.shares)} shares; "
                "expected shares for kind 'by-epoch' and for no other"
            )
