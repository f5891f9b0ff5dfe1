"""Time the scan's backends against each other: forward, and forward with backward.

Sides take turns in one process; medians and the ratio to the first are printed, in CSV. Nothing
else should run. Shapes are batch x tokens x channels, and may be given any number of times.

    python benchmarks/ops/scan.py
    python benchmarks/ops/scan.py --shape 8x513x1536 --dtype bfloat16
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from audiomamba.ops import bidirectional_selective_scan, native, selective_scan

STATES = 16
SHAPES = ("16x256x384", "1x2049x1536")


def inputs(batch: int, tokens: int, channels: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Random inputs with the strides of a mixer and step sizes between 0.001 and 0.1."""
    torch.manual_seed(0)
    x, z = torch.randn(batch, tokens, 2 * channels).to(dtype).chunk(2, dim=-1)
    maps = torch.randn(batch, tokens, channels // 32 + 2 * STATES).to(dtype)
    step = torch.exp(torch.empty(channels).uniform_(-6.9, -2.3))
    decay = -torch.arange(1.0, STATES + 1).repeat(channels, 1)
    return {
        "u": x,
        "delta": (torch.randn(batch, tokens, channels) * 0.5).to(dtype),
        "A": decay * torch.exp(0.3 * torch.randn(channels, STATES)),
        "A_b": decay * torch.exp(0.3 * torch.randn(channels, STATES)),
        "B": maps[..., -2 * STATES : -STATES],
        "C": maps[..., -STATES:],
        "D": torch.randn(channels),
        "z": z,
        "delta_bias": step + torch.log(-torch.expm1(-step)),
    }


def sides(given: dict[str, Tensor], gradient: bool) -> dict[str, Callable[[], None]]:
    """One callable per side."""
    one_way = {k: v for k, v in given.items() if k != "A_b"}
    probe = torch.randn_like(given["u"])

    def run(op: Callable[..., Tensor], tensors: dict[str, Tensor], backend: str) -> None:
        if not gradient:
            with torch.inference_mode():
                op(**tensors, delta_softplus=True, backend=backend)
            return
        leaves = {k: v.detach().requires_grad_() for k, v in tensors.items()}
        out = op(**leaves, delta_softplus=True, backend=backend)
        torch.autograd.grad(out, list(leaves.values()), probe)

    return {
        "cpu, both directions": lambda: run(bidirectional_selective_scan, given, "cpu"),
        "cpu, one direction": lambda: run(selective_scan, one_way, "cpu"),
        "reference, both directions": lambda: run(bidirectional_selective_scan, given, "reference"),
    }


def medians(
    calls: dict[str, Callable[[], None]], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Median seconds of each side, the sides taking turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = clock()
            call()
            times[name].append(clock() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", action="append", help="batch x tokens x channels")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--instruction-set", choices=native.instruction_sets())
    parser.add_argument(
        "--cpu-time", action="store_true", help="of the process, for one thread on a busy machine"
    )
    parser.add_argument("--no-reference", action="store_true", help="leave the slow side out")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.instruction_set:
        native.use_instruction_set(arguments.instruction_set)
    name = native.instruction_set()
    clock, kind = time.perf_counter, "wall time"
    if arguments.cpu_time:
        clock, kind = time.process_time, "CPU time"
    print(f"# {name}, {arguments.threads} threads, {arguments.dtype}, {STATES} states, {kind}")
    print("shape,pass,side,median_ms,ratio")
    for shape in arguments.shape or SHAPES:
        given = inputs(*map(int, shape.split("x")), dtype=getattr(torch, arguments.dtype))
        for name, gradient in (("forward", False), ("forward + backward", True)):
            calls = sides(given, gradient)
            if arguments.no_reference:
                calls = {k: call for k, call in calls.items() if k.startswith("cpu")}
            result = medians(calls, arguments.rounds, clock)
            first = next(iter(result.values()))
            for side, seconds in result.items():
                print(f'{shape},{name},"{side}",{seconds * 1e3:.2f},{seconds / first:.2f}')


if __name__ == "__main__":
    main()
