"""Whether the Triton kernels can run here."""

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import torch

__all__ = ["interpreted", "name", "problem", "triton_is_before", "triton_version"]

OLDEST_TRITON = (3, 3)  # the first whose kernels may gather tensors in tuples
OLDEST_CAPABILITY = (8, 0)  # of NVIDIA devices: the first with bfloat16


def interpreted() -> bool:
    """Whether Triton's kernels are interpreted, which is how they are tested without a GPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def problem() -> str | None:
    """Say why Triton kernels cannot run.

    Returns:
        One line with the reason and what to do; None if they can.
    """
    return _problem(interpreted())


@cache
def triton_version() -> str:
    """Name the version of Triton, whatever the package that it came in is called.

    Returns:
        Such as "3.5.1".
    """
    version: str = import_module("triton").__version__
    return version


def triton_is_before(release: tuple[int, int]) -> bool:
    """Tell whether Triton is older than a release.

    Args:
        release: its first two numbers.

    Returns:
        Whether it is.
    """
    return tuple(int(number) for number in triton_version().split(".")[:2]) < release


@cache  # asked at every call of an op
def _problem(interpreted: bool) -> str | None:
    if find_spec("triton") is None:
        return "Triton is not installed; it comes with PyTorch's builds for GPUs"
    if not interpreted and not torch.cuda.is_available():
        return "there is no GPU that PyTorch can use"
    version = triton_version()
    if triton_is_before(OLDEST_TRITON):
        oldest = ".".join(map(str, OLDEST_TRITON))
        return f"Triton {version} is too old; install PyTorch 2.7 or later, with Triton {oldest}"
    if interpreted or torch.version.hip is not None:
        return None
    capability = torch.cuda.get_device_capability()
    if capability < OLDEST_CAPABILITY:
        have, least = (".".join(map(str, pair)) for pair in (capability, OLDEST_CAPABILITY))
        return f"the GPU has compute capability {have}; the kernels need {least}; use 'torch'"
    return None


def name() -> str:
    """Name the device that the kernels run on.

    Returns:
        The GPU's name, or that the kernels are interpreted; with a note where nothing was measured.
    """
    if interpreted():
        return "interpreted on the CPU"
    device = torch.cuda.get_device_name()
    return f"{device} (ROCm: unmeasured)" if torch.version.hip is not None else device
