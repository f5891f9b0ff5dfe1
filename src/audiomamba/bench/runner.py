"""The runner: the implementations of a case are checked against each other, then timed in turns.

They take turns in one process, every other round in reverse order, so that what else the machine
does meets them alike. Medians and quartiles are kept, and the ratio of medians to the base.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from audiomamba.bench.build import build
from audiomamba.bench.cases import Case
from audiomamba.bench.implementation import Implementation, Outputs
from audiomamba.bench.memory import peak_mib
from audiomamba.bench.record import Result, Times
from audiomamba.errors import BackendError

__all__ = ["Settings", "difference", "run", "take_turns"]

# Root mean square of the difference over that of what is right.
TOLERANCES = {"float32": 1e-3, "bfloat16": 5e-2}
# After so long an implementation is timed no more, once it has been timed so often.
BUDGET_S = 3.0
FEWEST_ROUNDS = 3
# A call that takes longer is timed once.
LONG_CALL_S = 8.0
# A GPU is timed over so many calls that they take about this long, so that it waits for none.
GPU_SLICE_S = 0.05
MOST_GPU_CALLS = 100


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How cases are run.

    Args:
        device: "cpu" or "cuda".
        instruction_set: of the compiled library; None for its own choice.
        measure_memory: whether each implementation is also run in a process of its own.
        exponentials_per_s: of the machine, by one thread, or of the whole GPU; None if not
            measured.
    """

    device: str = "cpu"
    instruction_set: str | None = None
    measure_memory: bool = True
    exponentials_per_s: float | None = None


def run(case: Case, settings: Settings) -> Iterator[Result]:
    """Check and time the implementations of a case.

    Args:
        case: what is run.
        settings: how.

    Yields:
        A result per implementation, in the order of the case; one that is missing or wrong has a
        reason in place of times. The base is the first that is neither.
    """
    implementations, missing = _build(case, settings.device)
    wrong, cannot = _check(implementations, case.dtype)
    missing |= cannot
    right = {
        name: implementation
        for name, implementation in implementations.items()
        if name not in wrong | cannot
    }
    calls = {name: implementation.call for name, implementation in right.items()}
    for implementation in right.values():
        if implementation.pair is not None:  # or else the check has warmed it up
            implementation.call()
    times = take_turns(calls, case.n_rounds, synchronize=settings.device == "cuda")
    base = next(iter(times), case.implementations[0])
    for name in case.implementations:
        settled = Result(group=case.group, case=case.settings(), implementation=name, base=base)
        if name in missing:
            yield settled.changed(missing=missing[name])
        elif name in wrong:
            yield settled.changed(error=wrong[name])
        else:
            result = settled.with_times(times[name], times[base])
            yield _with_memory(_with_rate(result, right[name], settings), case, settings)


def _build(case: Case, device: str) -> tuple[dict[str, Implementation], dict[str, str]]:
    """The implementations that can run here, and why the others cannot."""
    implementations, missing = {}, {}
    for name in case.implementations:
        try:
            implementations[name] = build(case, name, device)
        except BackendError as error:
            missing[name] = str(error)
    return implementations, missing


def _check(
    implementations: Mapping[str, Implementation], dtype: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Run every implementation once, and say which are wrong, and which cannot run this case."""
    wrong: dict[str, str] = {}
    cannot: dict[str, str] = {}
    base: Outputs | None = None
    for name, implementation in implementations.items():
        try:
            if implementation.pair is None:
                got = implementation.call()
                wanted = base = got if base is None else base
            else:
                got, wanted = implementation.pair()
        except BackendError as error:
            cannot[name] = str(error)
            continue
        found = difference(got, wanted)
        if found > TOLERANCES[dtype]:
            wrong[name] = f"wrong: off by {found:.2g} of the right result's root mean square"
    return wrong, cannot


def difference(got: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> float:
    """Measure how far tensors are from what they should be.

    Args:
        got: what was computed.
        wanted: what is right, equally many of the same shapes.

    Returns:
        The largest of the tensors' relative differences: root mean square of the difference over
        that of what is right; infinite if the shapes differ or a number is none.
    """
    shapes = [[tuple(x.shape) for x in tensors] for tensors in (got, wanted)]
    if shapes[0] != shapes[1]:
        return float("inf")
    found = [0.0]
    for one, other in zip(got, wanted, strict=True):
        size = float(other.float().norm())
        apart = float((one.float() - other.float()).norm())
        found.append(apart / size if size else apart)
    return float("inf") if any(map(math.isnan, found)) else max(found)


def take_turns(
    calls: Mapping[str, Callable[[], object]], n_rounds: int, *, synchronize: bool = False
) -> dict[str, Times]:
    """Time calls in turns.

    Args:
        calls: by name; each has run before.
        n_rounds: how often at most; a slow call is timed less often.
        synchronize: wait for the GPU before looking at the clock, and time some calls together.

    Returns:
        The times by name.
    """
    times = {name: Times([], []) for name in calls}
    for turn in range(n_rounds):
        names = list(calls)[:: -1 if turn % 2 else 1]
        for name in names:
            if _has_more(times[name]):
                wall_s, cpu_s = (_gpu_seconds if synchronize else _seconds)(calls[name])
                times[name].wall_s.append(wall_s)
                times[name].cpu_s.append(cpu_s)
    return times


def _has_more(times: Times) -> bool:
    """Whether a call is to be timed once more."""
    if any(seconds > LONG_CALL_S for seconds in times.wall_s):
        return False
    return len(times.wall_s) < FEWEST_ROUNDS or sum(times.wall_s) < BUDGET_S


def _seconds(call: Callable[[], object]) -> tuple[float, float]:
    """Wall time and time of the process that a call takes; what it returns is let go after that."""
    wall, cpu = time.perf_counter(), time.process_time()
    outputs = call()
    taken = time.perf_counter() - wall, time.process_time() - cpu
    del outputs
    return taken


def _gpu_seconds(call: Callable[[], object]) -> tuple[float, float]:
    """The same of one of several calls that follow each other on the GPU."""

    def several(n_calls: int) -> None:
        for _ in range(n_calls):
            call()
        torch.cuda.synchronize()

    torch.cuda.synchronize()
    once_s, _ = _seconds(lambda: several(1))
    n_calls = max(1, min(MOST_GPU_CALLS, int(GPU_SLICE_S / once_s)))
    wall_s, cpu_s = _seconds(lambda: several(n_calls))
    return wall_s / n_calls, cpu_s / n_calls


def _with_rate(result: Result, implementation: Implementation, settings: Settings) -> Result:
    """Add the rate of state updates, and its share of the exponentials that are possible."""
    if not implementation.n_updates or result.median_ms is None:
        return result
    rate = implementation.n_updates / (result.median_ms / 1000)
    result = result.changed(updates_per_s=rate)
    if settings.exponentials_per_s is None:
        return result
    n_times = 1 if settings.device == "cuda" else torch.get_num_threads()
    return result.changed(share_of_exponentials=rate / (settings.exponentials_per_s * n_times))


def _with_memory(result: Result, case: Case, settings: Settings) -> Result:
    """Add the peak of memory, from a process of its own."""
    if not (settings.measure_memory and case.measures_memory):
        return result
    found = peak_mib(case, result.implementation, settings.device, settings.instruction_set)
    return result.changed(peak_mib=found)
