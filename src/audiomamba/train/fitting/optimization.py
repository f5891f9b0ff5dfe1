"""The optimizer of a run: its steps, its learning rate, and the state from which a run goes on."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from audiomamba.train.fitting.full_state import full_tensor
from audiomamba.train.fitting.module import TrainingModule
from audiomamba.train.fitting.optimizer import new_optimizer
from audiomamba.train.fitting.schedule import learning_rate_fraction
from audiomamba.train.fitting.schedule_clock import ScheduleClock
from audiomamba.train.fitting.state import Position

__all__ = ["Optimization"]


class Optimization:
    """The steps of a run.

    Args:
        module: the model in training, on its device, its weights those to go on from.
        n_batches: batches of an epoch.
        clock: says where in its schedule the run is; None to go by its steps.
        is_sharded: whether every process holds a share of the weights.
        saved: the saved state; None for the beginning.
    """

    def __init__(
        self,
        module: TrainingModule,
        n_batches: int,
        *,
        clock: ScheduleClock | None,
        is_sharded: bool,
        saved: Mapping[str, Any] | None,
    ) -> None:
        self.module, self.clock, self.recipe = module, clock, module.recipe
        self.n_steps = 0  # that the optimizer has made
        self.fraction = learning_rate_fraction(
            self.recipe, math.ceil(n_batches / self.recipe.accumulate)
        )
        self.optimizer = new_optimizer(module.model, self.recipe)
        if saved is not None:
            self._load(saved, is_sharded=is_sharded)
        self._set_learning_rate()

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        step = self.n_steps if self.clock is None else int(self.clock.position)
        return self.recipe.learning_rate * self.fraction(step)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left of the schedule."""
        return self.clock is not None and self.clock.is_over

    def step(self) -> None:
        """Change the weights by the gradients that they have, and forget these."""
        precision = self.module.precision
        precision.unscale_gradients(self.optimizer)
        self.module.clip_gradients()
        precision.optimizer_step(self.optimizer)
        self.optimizer.zero_grad()
        self.n_steps += 1
        if self.clock is not None:
            self.clock.advance()
        self._set_learning_rate()

    def state(self, position: Position) -> dict[str, Any]:
        """Return all that is needed to go on; all processes have to call this.

        Args:
            position: where the run is.

        Returns:
            Names and values, on the CPU where they were sharded.
        """
        state = self.optimizer.state_dict()
        state["state"] = {
            number: {name: full_tensor(value) for name, value in of_weight.items()}
            for number, of_weight in state["state"].items()
        }
        weights = self.module.state_dict()
        return {
            "position": asdict(position),
            "state_dict": {name: full_tensor(value) for name, value in weights.items()},
            "optimizer_states": [state],
            "lr_schedulers": [{"last_epoch": self.n_steps}],
            "MixedPrecision": self.module.precision.state_dict(),
            "pace": {} if self.clock is None else self.clock.state(),
        }

    def _set_learning_rate(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate

    def _load(self, saved: Mapping[str, Any], *, is_sharded: bool) -> None:
        """Go on from a state, but for the weights; those of older versions have the same names."""
        (state,) = saved["optimizer_states"]
        if is_sharded:
            from audiomamba.train.fitting.sharding import with_shares

            state = with_shares(self.optimizer, state)
        self.optimizer.load_state_dict(state)
        self.n_steps = saved["lr_schedulers"][0]["last_epoch"]
        self.module.precision.load_state_dict(saved.get("MixedPrecision", {}))
        if self.clock is not None and saved.get("pace"):
            self.clock.resume(saved["pace"])
