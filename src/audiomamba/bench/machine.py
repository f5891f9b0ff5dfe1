"""What results depend on besides the code: the processor, the threads, the versions."""

import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from audiomamba import __version__
from audiomamba.bench.peers import PACKAGES
from audiomamba.errors import BackendError
from audiomamba.ops import gpu, native
from audiomamba.provenance import commit

__all__ = ["describe", "exponentials_per_s", "limits"]

CPUINFO = Path("/proc/cpuinfo")
N_REPEATS, N_ROUNDS = 2000, 50  # short rounds: some are not interrupted


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


def limits(device: str) -> dict[str, float]:
    """Measure what the results are held against.

    Args:
        device: "cpu" or "cuda".

    Returns:
        Exponentials per second: of one thread of the CPU, if the compiled library is there, or of
        the whole GPU; for a GPU also bytes copied per second. Ready for JSON.

    Raises:
        BackendError: the GPU cannot run Triton's kernels.
    """
    if device == "cpu":
        return {} if native.problem() else {"exponentials_per_s": exponentials_per_s()}
    problem = gpu.problem()
    if problem is not None:
        raise BackendError(f"nothing can be measured on the GPU: {problem}")
    from audiomamba.bench import gpu_limits

    return gpu_limits.measure()


def exponentials_per_s() -> float:
    """Measure how many exponentials one thread computes within its first-level cache.

    The exponential is that of the compiled scans, alone: no scan can compute more of them.

    Returns:
        Exponentials of float32 per second and thread.

    Raises:
        BackendError: the compiled library is missing.
    """
    found = []
    for _ in range(N_ROUNDS):
        began = time.perf_counter()
        count = native.exponentials(N_REPEATS)
        found.append(count / (time.perf_counter() - began))
    return max(found)  # what else runs only ever takes away


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
