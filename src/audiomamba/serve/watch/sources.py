"""Where sound comes from: a device of the operating system, or standard input."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiomamba.audio.resample import resample_blocks
from audiomamba.errors import AudioError, MissingDependencyError

__all__ = ["device_blocks"]

# What FFmpeg calls the sound devices of each system.
DEVICE_FORMATS = {"linux": "alsa", "darwin": "avfoundation", "win32": "dshow"}
ALSA_CONFIG = Path("/usr/share/alsa/alsa.conf")


def device_blocks(name: str, sample_rate: int) -> Iterator[Tensor]:
    """Record from a device until it is gone.

    Args:
        name: as the system calls it: "default" or "hw:1" on Linux, ":0" on macOS, "audio=NAME" on
            Windows.
        sample_rate: the wanted rate in Hz.

    Yields:
        (samples,) float32, mixed to mono.

    Raises:
        AudioError: there is no such device, or it gives no sound.
        MissingDependencyError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError("PyAV", "watch", "recording from a device") from error
    if sys.platform == "linux" and ALSA_CONFIG.is_file():  # PyAV's own is not there
        os.environ.setdefault("ALSA_CONFIG_PATH", str(ALSA_CONFIG))
    try:
        container = av.open(name, format=DEVICE_FORMATS.get(sys.platform, "alsa"))
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no device"
        raise AudioError(f"the device {name!r} cannot be opened: {reason}") from error
    with container:
        stream = container.streams.audio[0]
        to_float = av.AudioResampler(format="fltp")

        def decoded() -> Iterator[NDArray[np.float32]]:
            for frame in container.decode(stream):
                for converted in to_float.resample(frame):
                    yield converted.to_ndarray().mean(axis=0)

        try:
            for block in resample_blocks(decoded(), stream.rate, sample_rate):
                if block.size:
                    yield torch.from_numpy(block)
        except (av.FFmpegError, OSError) as error:
            raise AudioError(f"the device {name!r} gives no more sound") from error
