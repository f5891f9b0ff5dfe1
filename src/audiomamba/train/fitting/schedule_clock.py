"""How fast a run goes through its schedule, so that it ends on time on any machine."""

import statistics
import time
from collections import deque
from collections.abc import Mapping

from audiomamba.train.fitting import processes

__all__ = ["ScheduleClock"]

N_UNMEASURED = 3  # first steps, which take longer than those after them
N_RECENT = 50  # steps that say how long the next ones will take, whatever stood between some


class ScheduleClock:
    """The place of a run in its schedule, through which it goes faster if time would run out.

    A run on a machine that is slower than thought takes fewer steps, each further along the same
    schedule, and so ends on time with the learning rate that it was meant to end with.

    Args:
        n_steps: steps of the optimizer in the whole schedule.
        budget_s: seconds until the last of them, more than 0.
        started: when they began, by time.perf_counter.
    """

    def __init__(self, n_steps: int, budget_s: float, started: float) -> None:
        self.n_steps = n_steps
        self.budget_s = budget_s
        self.started = started
        self.position = 0.0
        self._n_taken = 0
        self._last = started
        self._recent_s: deque[float] = deque(maxlen=N_RECENT)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left of the schedule."""
        return self.position >= self.n_steps

    def advance(self) -> None:
        """Go on after a step of the optimizer; in all processes by the first one's clock."""
        self.position = processes.from_first(self._next)

    def state(self) -> dict[str, float]:
        """Return what a run that goes on later has to know."""
        return {"position": self.position, "spent_s": time.perf_counter() - self.started}

    def resume(self, state: Mapping[str, float]) -> None:
        """Go on where an earlier run was; the time that it took is spent.

        Args:
            state: what state returned there.
        """
        self.position = state["position"]
        self.started -= state["spent_s"]

    def _next(self) -> float:
        """The position after one more step."""
        now = time.perf_counter()
        left_s = self.started + self.budget_s - now
        if left_s <= 0:
            return float(self.n_steps)
        self._n_taken += 1
        if self._n_taken > N_UNMEASURED:
            self._recent_s.append(now - self._last)
        self._last = now
        step_s = statistics.median(self._recent_s or [0.0])
        stride = max(1.0, (self.n_steps - self.position) * step_s / left_s)
        return min(float(self.n_steps), self.position + stride)
