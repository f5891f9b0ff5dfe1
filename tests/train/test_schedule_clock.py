import json
import time
from itertools import pairwise

import pytest

from audiomamba import checkpoints, train
from audiomamba.errors import ConfigError
from audiomamba.recipes import override
from audiomamba.train.fitting.module import TrainingModule
from audiomamba.train.fitting.schedule_clock import ScheduleClock

N_STEPS, BUDGET_S = 1000, 100.0


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time, which a test sets."""
    now = [0.0]
    monkeypatch.setattr("audiomamba.train.fitting.schedule_clock.time.perf_counter", lambda: now[0])
    return now


def drive(pace: ScheduleClock, clock: list[float], *step_s: float) -> list[float]:
    """The positions of a run whose steps take so long, one after another, to its end."""
    positions = []
    while not pace.is_over:
        clock[0] += step_s[min(len(positions), len(step_s) - 1)]
        pace.advance()
        positions.append(pace.position)
    return positions


def test_on_a_machine_as_fast_as_thought_every_step_is_one(clock):
    assert drive(ScheduleClock(N_STEPS, BUDGET_S, 0.0), clock, 0.08) == [*range(1, N_STEPS + 1)]
    assert clock[0] == pytest.approx(80)


@pytest.mark.parametrize(
    ("step_s", "n_steps"),
    [((0.4,), 250), ((0.08,) * 500 + (0.3,), 700), ((0.1,) * 10 + (70,) + (0.1,), 300)],
    ids=["always slow", "slow from the middle on", "halted once"],
)
def test_a_slower_machine_takes_fewer_steps_to_the_same_end(clock, step_s, n_steps):
    positions = drive(ScheduleClock(N_STEPS, BUDGET_S, 0.0), clock, *step_s)
    assert BUDGET_S - 5 < clock[0] <= BUDGET_S + step_s[-1]
    assert len(positions) == pytest.approx(n_steps, rel=0.1)
    strides = [later - earlier for earlier, later in pairwise(positions)]
    assert min(strides[:-1]) >= 1
    assert max(strides) < 0.1 * N_STEPS  # nowhere does the schedule jump


def test_time_before_an_interruption_is_spent(clock):
    pace = ScheduleClock(N_STEPS, BUDGET_S, 0.0)
    for _ in range(100):
        clock[0] += 0.4
        pace.advance()
    state = pace.state()
    clock[0] = 1000.0
    later = ScheduleClock(N_STEPS, BUDGET_S, 1000.0)
    later.resume(state)
    assert later.position == pace.position
    drive(later, clock, 0.4)
    assert clock[0] == pytest.approx(1060, abs=1)


def slowed(monkeypatch, seconds: float) -> None:
    """Make every training step take longer."""
    step = TrainingModule.forward

    def slow(self, batch, batch_idx):
        time.sleep(seconds)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "forward", slow)


def test_a_run_ends_on_time_at_the_end_of_its_schedule(recipe, corpus, tmp_path, monkeypatch):
    """40 epochs of 3 steps; the time is enough for a few."""
    long = override(recipe, ["epochs=40", "evaluate_every=40", "learning_rate=1e-3"])
    slowed(monkeypatch, 0.1)
    began = time.perf_counter()
    done = train.fit(
        long, corpus, tmp_path, fold=1, n_threads=1, budget_s=4.0, save_every_s=0, progress=False
    )
    assert 3.0 < time.perf_counter() - began < 8.0
    assert 2 <= done.metrics["epoch"] < 20
    assert done.metrics["learning_rate"] == pytest.approx(1e-5, rel=0.5)
    assert "ema_accuracy" in done.metrics  # though it was not yet time to evaluate
    assert checkpoints.load(tmp_path / "last").notes["epoch"] == done.metrics["epoch"]
    record = json.loads((tmp_path / "run.json").read_text())
    del record["metrics"]  # as if killed before the last line was written
    (tmp_path / "run.json").write_text(json.dumps(record))
    again = train.fit(long, corpus, tmp_path, fold=1, n_threads=1, budget_s=4.0, progress=False)
    assert again.metrics == done.metrics


def test_a_run_with_time_to_spare_is_as_without_a_limit(recipe, corpus, tmp_path):
    call = {"fold": 1, "n_threads": 1, "progress": False}
    free = train.fit(recipe, corpus, tmp_path / "free", **call)
    timed = train.fit(recipe, corpus, tmp_path / "timed", budget_s=500.0, **call)
    assert {k: v for k, v in timed.metrics.items() if k != "seconds"} == {
        k: v for k, v in free.metrics.items() if k != "seconds"
    }
    with pytest.raises(ConfigError, match="budget_s is 0; expected seconds, more than 0"):
        train.fit(recipe, corpus, tmp_path / "none", budget_s=0, **call)
