"""Peak memory of an implementation, measured in a process of its own.

The processes are forked from a server that has loaded PyTorch and has computed nothing, so that
each begins fresh and at once. What is counted is how much more than before the process holds at the
peak of one call: outputs, gradients and working memory, not weights and inputs.
"""

import ctypes
import gc
import multiprocessing
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from audiomamba.bench.build import build
from audiomamba.bench.cases import Case
from audiomamba.ops import native

__all__ = ["peak_mib"]

KIB_PER_MIB = 1024
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # see proc(5)


def peak_mib(case: Case, name: str, device: str, instruction_set: str | None) -> float | None:
    """Measure the memory that one call of an implementation needs beyond its inputs and weights.

    Args:
        case: what is run.
        name: the implementation.
        device: "cpu" or "cuda".
        instruction_set: of the compiled library; None for its own choice.

    Returns:
        MiB; None where the system does not tell, or if the process ended before its time.
    """
    if device == "cpu" and not STATUS.exists():
        return None
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    arguments = (case, name, device, instruction_set, torch.get_num_threads(), sender)
    process = context.Process(target=_measure, args=arguments)
    process.start()
    sender.close()
    try:
        found: float = receiver.recv()
    except EOFError:  # such as killed for its memory
        return None
    finally:
        process.join()
    return found


def _measure(
    case: Case,
    name: str,
    device: str,
    instruction_set: str | None,
    n_threads: int,
    sender: Connection,
) -> None:
    """What the process does."""
    torch.set_num_threads(n_threads)
    if instruction_set is not None:
        native.use_instruction_set(instruction_set)
    implementation = build(case, name, device)
    # Code is read, and the libraries make what they keep, before the call that counts.
    (implementation.call if implementation.pair is None else implementation.pair)()
    gc.collect()
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        implementation.call()
        torch.cuda.synchronize()
        sender.send((torch.cuda.max_memory_allocated() - before) / KIB_PER_MIB**2)
        return
    _give_back_free_memory()
    CLEAR_REFS.write_text(RESET_PEAK, "ascii")
    before = _status_kib("VmRSS")
    implementation.call()
    sender.send((_status_kib("VmHWM") - before) / KIB_PER_MIB)


def _give_back_free_memory() -> None:
    """Return to the system what the allocator keeps for later, so that it counts when used."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _status_kib(field: str) -> int:
    """A line of the process's status."""
    for line in STATUS.read_text("ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError(f"{STATUS} has no line {field}")
