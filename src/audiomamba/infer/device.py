"""The device that a model computes on."""

import os

import torch

from audiomamba.errors import ConfigError

__all__ = ["as_device", "use_threads"]

LEAST_LIMIT = 64  # threads that any machine may be asked for


def as_device(name: str | torch.device) -> torch.device:
    """Look up a device, and check that it is there.

    Args:
        name: "cpu", "cuda" for the current GPU, or "cuda:N" for the GPU with that index.

    Returns:
        The device.

    Raises:
        ConfigError: the name is not one of these, or there is no such GPU.

    Examples:
        >>> as_device("cpu")
        device(type='cpu')
    """
    kind, _, index = str(name).partition(":")
    known = (kind == "cpu" and not index) or (kind == "cuda" and (not index or index.isdecimal()))
    if not known or str(name).endswith(":"):
        raise ConfigError(f"device {str(name)!r} is not known; expected cpu, cuda or cuda:N")
    if kind == "cuda":
        n_gpus = torch.cuda.device_count()
        if not n_gpus:
            raise ConfigError(f"device {name} was asked for; PyTorch finds no GPU here, use cpu")
        if int(index or 0) >= n_gpus:
            raise ConfigError(f"device {name} was asked for; the last GPU is cuda:{n_gpus - 1}")
    return torch.device(str(name))


def use_threads(n_threads: int | None) -> None:
    """Let the processor compute with so many threads.

    Args:
        n_threads: at least 1; None to leave their number as it is.

    Raises:
        ConfigError: there are too few, or more than a machine like this one can start.

    Examples:
        >>> use_threads(100_000)
        Traceback (most recent call last):
            ...
        audiomamba.errors.ConfigError: n_threads is 100000; expected 1 to ...
    """
    if n_threads is None:
        return
    most = max(LEAST_LIMIT, 4 * (os.cpu_count() or 1))
    if not 1 <= n_threads <= most:
        raise ConfigError(f"n_threads is {n_threads}; expected 1 to {most}")
    torch.set_num_threads(n_threads)
