"""What results depend on besides the code: the processor, the threads, the versions."""

import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from audiomamba import __version__
from audiomamba.bench.peers import PACKAGES
from audiomamba.ops import native
from audiomamba.train.run import commit

__all__ = ["describe", "exponentials_per_s"]

CPUINFO = Path("/proc/cpuinfo")
# Two sizes whose difference is exponentials and no call: input and output fit into 24 KiB of cache.
FEW, MANY = 512, 3072
N_CALLS, N_ROUNDS = 200, 50  # short rounds: some are not interrupted


def describe(device: str) -> dict[str, Any]:
    """Name what a result has to be quoted with.

    Args:
        device: "cpu" or "cuda".

    Returns:
        Device, processor, instruction set, threads, versions and commit, ready for JSON.
    """
    return {
        "device": device if device == "cpu" else torch.cuda.get_device_name(),
        "processor": _processor(),
        "instruction_set": None if native.problem() else native.instruction_set(),
        "threads": torch.get_num_threads(),
        "versions": {
            "audiomamba": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            **_peers(),
        },
        "commit": commit(),
    }


def exponentials_per_s() -> float:
    """Measure how many exponentials PyTorch computes on one thread, within the first-level cache.

    What a call costs is left out, by taking the difference of two sizes. This is a yardstick and no
    limit: the compiled scan has an exponential of its own, which is faster.

    Returns:
        Exponentials of float32 per second and thread.
    """
    given, out = torch.linspace(-8, 0, MANY), torch.empty(MANY)
    seconds: dict[int, list[float]] = {FEW: [], MANY: []}
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(N_ROUNDS):
            for size, found in seconds.items():
                x, y = given[:size], out[:size]
                began = time.perf_counter()
                for _ in range(N_CALLS):
                    torch.exp(x, out=y)
                found.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(n_threads)
    extra_s = min(seconds[MANY]) - min(seconds[FEW])  # what else runs only ever adds
    return N_CALLS * (MANY - FEW) / extra_s


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    if CPUINFO.exists():
        for line in CPUINFO.read_text("utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _peers() -> dict[str, str]:
    """Versions of the other packages that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
