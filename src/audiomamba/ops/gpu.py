"""Whether the Triton kernels can run here."""

import os
from importlib import metadata
from importlib.util import find_spec

import torch

__all__ = ["interpreted", "name", "problem"]

OLDEST_TRITON = (3, 2)
OLDEST_CAPABILITY = (7, 0)  # of NVIDIA devices, below which Triton does not compile


def interpreted() -> bool:
    """Whether Triton's kernels are interpreted, which is how they are tested without a GPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def problem() -> str | None:
    """Say why Triton kernels cannot run.

    Returns:
        One line with the reason and what to do; None if they can.
    """
    if find_spec("triton") is None:
        return "Triton is not installed; it comes with PyTorch's builds for GPUs"
    version = metadata.version("triton")
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_TRITON:
        return f"Triton {version} is too old; 3.2 is the oldest that can compile the kernels"
    if interpreted():
        return None
    if not torch.cuda.is_available():
        return "there is no GPU that PyTorch can use"
    capability = torch.cuda.get_device_capability()
    if torch.version.hip is None and capability < OLDEST_CAPABILITY:
        return f"the GPU has compute capability {capability}; 7.0 is the lowest for Triton"
    return None


def name() -> str:
    """Name the device that the kernels run on.

    Returns:
        The GPU's name, or that the kernels are interpreted.
    """
    return "interpreted on the CPU" if interpreted() else torch.cuda.get_device_name()
