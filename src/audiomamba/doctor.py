"""What this installation can do, what it lacks, and how to mend it."""

import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Literal

import torch

from audiomamba import __version__, ops
from audiomamba.cores import n_cores
from audiomamba.ops import launch_config
from audiomamba.ops.linear import prefers_onednn

__all__ = ["Finding", "examine"]

State = Literal["ok", "slow", "missing"]

# What each extra is for, and the packages that it brings.
EXTRAS = {
    "hub": ("weights from the Hugging Face hub", ("huggingface_hub",)),
    "hf": ("models in the transformers library", ("transformers",)),
    "plot": ("pictures of tagged recordings", ("matplotlib",)),
    "train": ("training and evaluation", ("lightning", "sklearn", "tensorboard", "tqdm")),
}
SCAN_TOKENS, SCAN_CHANNELS, SCAN_STATES = 256, 384, 16
SCAN_REPEATS, LONGEST_MEASUREMENT_S = 5, 1.0
USUAL_SPEEDUP = 50  # of compiled scans on x86 with AVX-512: 30 on one thread, 100 on two
COMPILER_ADVICE = "install a C++ compiler such as g++, then reinstall audiomamba"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        area: what it belongs to, such as "decoders".
        name: what was looked at.
        value: what was found.
        state: "slow" and "missing" are worth a look, neither stops the tagging of recordings.
        advice: what to do about it; empty if nothing has to be done.
    """

    area: str
    name: str
    value: str
    state: State = "ok"
    advice: str = ""


def examine() -> list[Finding]:
    """Look at Python, torch, the processor, the backends of the ops, the decoders and the extras.

    Returns:
        The findings, those of one area together.
    """
    return [*_machine(), *_backends(), *_scans(), *_decoders(), *_extras()]


def _machine() -> Iterator[Finding]:
    """Versions, threads and devices."""
    yield Finding("machine", "audiomamba", __version__)
    yield Finding("machine", "python", f"{platform.python_version()} ({sys.executable})")
    yield Finding("machine", "torch", torch.__version__)
    instructions = torch.backends.cpu.get_cpu_capability()
    yield Finding("machine", "processor", f"{platform.machine()}, torch uses {instructions}")
    yield Finding("machine", "threads", f"{torch.get_num_threads()} of {n_cores()} cores")
    library = "oneDNN" if prefers_onednn() else "PyTorch's default"
    yield Finding("machine", "float32 linear layers", library)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none that torch can use"
    yield Finding("machine", "gpu", gpu)


def _backends() -> Iterator[Finding]:
    """Which backends each op can use; why one cannot run, once."""
    statuses = ops.explain_backends()
    for op in dict.fromkeys(status.op for status in statuses):
        able = [status.backend for status in statuses if status.op == op and status.available]
        yield Finding("backends", op, ", ".join(able))
    for backend in dict.fromkeys(status.backend for status in statuses):
        reasons = {s.reason: s.available for s in statuses if s.backend == backend}
        for reason, available in reasons.items():
            yield Finding("backends", f"({backend})", reason, "ok" if available else "slow")
    if "triton" in ops.available_backends():
        yield _gpu_settings()


def _gpu_settings() -> Finding:
    """Whether the GPU kernels were timed for the sizes that are used."""
    cache = launch_config.config_cache()
    if cache.problem:
        advice = "delete the file, then call audiomamba.ops.warmup"
        return Finding("backends", "gpu settings", cache.problem, "slow", advice)
    value = f"timed for {len(cache)} sizes ({cache.path})" if len(cache) else "defaults, not timed"
    return Finding("backends", "gpu settings", value)


def _scans() -> Iterator[Finding]:
    """How fast scans are, measured here on one thread."""
    plain_ms = 1000 * _scan_seconds("torch")
    if "cpu" in ops.available_backends():
        compiled_ms = 1000 * _scan_seconds("cpu")
        value = (
            f"compiled {compiled_ms:.2g} ms, plain PyTorch {plain_ms:.2g} ms: "
            f"{plain_ms / compiled_ms:.0f} times faster"
        )
        yield Finding("backends", "one scan", value)
    else:
        value = f"{plain_ms:.2g} ms: about {USUAL_SPEEDUP} times slower than with compiled kernels"
        yield Finding("backends", "one scan", value, "slow", COMPILER_ADVICE)


def _scan_seconds(backend: Literal["torch", "cpu"]) -> float:
    """The shortest of a few runs of one bidirectional scan, on one thread."""
    inputs = torch.full((1, SCAN_TOKENS, SCAN_CHANNELS), 0.1)
    states = torch.full((1, SCAN_TOKENS, SCAN_STATES), 0.1)
    decay = torch.full((SCAN_CHANNELS, SCAN_STATES), -1.0)
    runs_s: list[float] = []
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        while len(runs_s) < SCAN_REPEATS and sum(runs_s) < LONGEST_MEASUREMENT_S:
            started = time.perf_counter()
            ops.bidirectional_selective_scan(
                inputs, inputs, decay, decay, states, states, backend=backend
            )
            runs_s.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(n_threads)
    return min(runs_s)


def _decoders() -> Iterator[Finding]:
    """What can be read."""
    import soundfile

    known = soundfile.available_formats()
    formats = [name.lower() for name in ("WAV", "FLAC", "OGG", "MP3", "AIFF") if name in known]
    yield Finding("decoders", "soundfile", f"{soundfile.__version__}: {', '.join(formats)}")
    if find_spec("av") is None:
        yield Finding(
            "decoders", "av", "not installed: no m4a, mp4, webm", "missing", _advice("media")
        )
    else:
        yield Finding("decoders", "av", f"{metadata.version('av')}: m4a, mp4, webm and more")


def _extras() -> Iterator[Finding]:
    """The optional parts."""
    for extra, (purpose, packages) in EXTRAS.items():
        lacking = [package for package in packages if find_spec(package) is None]
        if lacking:
            value = f"{purpose}: not installed ({', '.join(lacking)})"
            yield Finding("extras", extra, value, "missing", _advice(extra))
        else:
            yield Finding("extras", extra, f"{purpose}: installed")


def _advice(extra: str) -> str:
    return f"pip install 'audiomamba[{extra}]'"
