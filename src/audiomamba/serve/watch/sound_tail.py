"""The last seconds of sound on the disk, so that what was just heard is not lost with the process.

    SOUND.tail/state.json   what was certain, written after every step
    SOUND.tail/N.f32        samples from the N-th on, written as they come

A tail is there only while its process runs, or was ended by force.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from audiomamba.atomic import write_json
from audiomamba.errors import ConfigError

__all__ = ["Certain", "SoundTail"]

SEGMENT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Certain:
    """What is certain about a stream of sound.

    Args:
        began_s: when its first sample was heard, in seconds since 1970.
        sample_rate: in Hz.
        source: what is listened to.
        settled_s: up to here all is known, in seconds from the beginning.
        going_on: events that had not ended there, as Event.to_dict gives them.
        offset: bytes of the events' file when the stream began.
    """

    began_s: float
    sample_rate: int
    source: str
    settled_s: float = 0.0
    going_on: tuple[dict[str, Any], ...] = ()
    offset: int = 0


class SoundTail:
    """The tail of one stream.

    Args:
        folder: where it is kept.
        longest_s: seconds that are there at least, once so many have come.
    """

    def __init__(self, folder: Path, longest_s: float) -> None:
        self._folder, self._segment_s = folder, max(SEGMENT_S, longest_s)
        self._n_samples = 0
        self._file: BinaryIO | None = None

    def begin(self, certain: Certain) -> None:
        """Begin a new stream; what is left of another is deleted.

        Args:
            certain: what is known of it.

        Raises:
            ConfigError: the folder cannot be made.
        """
        self.delete()
        try:
            self._folder.mkdir(parents=True)
        except OSError as error:
            raise ConfigError(f"{self._folder} cannot be made: {error.strerror}") from error
        self._segment = int(self._segment_s * certain.sample_rate)
        self._n_samples = 0
        self.settle(certain)

    def add(self, samples: Tensor) -> None:
        """Write samples; they outlive the process from here on.

        Args:
            samples: (samples,).
        """
        if self._file is None:
            self._file = self._open(self._n_samples)
        self._file.write(samples.numpy().astype("<f4").tobytes())
        before = self._n_samples // self._segment
        self._n_samples += len(samples)
        if self._n_samples // self._segment > before:
            self._close()
            for path in self._segments()[:-2]:
                path.unlink()

    def settle(self, certain: Certain) -> None:
        """Write down what is certain.

        Args:
            certain: it.
        """
        write_json(self._folder / "state.json", asdict(certain))

    def left_over(self) -> tuple[Certain, int, Tensor] | None:
        """Read what a process that was ended by force has left.

        Returns:
            What was certain, the index of the first sample that is there, and the samples; None
            where nothing was left, or too little to be of use.
        """
        try:
            certain = Certain(**json.loads((self._folder / "state.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        segments = self._segments()
        data = b"".join(path.read_bytes() for path in segments)
        samples = np.frombuffer(data[: len(data) // 4 * 4], "<f4").copy()
        if not len(samples):
            return None
        return certain, int(segments[0].stem), torch.from_numpy(samples)

    def leave(self) -> None:
        """Leave to the next call what is there, if anything is."""
        self._close()
        if not self._n_samples:
            self.delete()

    def _close(self) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def delete(self) -> None:
        """Delete the tail: all of it is known."""
        self._close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self, first: int) -> BinaryIO:
        return (self._folder / f"{first:015}.f32").open("ab", buffering=0)

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob("*.f32"))
