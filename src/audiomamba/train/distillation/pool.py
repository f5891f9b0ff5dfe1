"""Recordings to mix examples from: decoded once, and what a teacher hears in windows of them.

A file pool/00000.safetensors holds some recordings, one behind the other, as 16-bit samples at the
teacher's rate, each brought to one peak, and the teacher's scores of windows of them. A file is
complete or not there, so what was interrupted goes on.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor

from audiomamba.atomic import write_bytes
from audiomamba.data import Clip, Clips
from audiomamba.data.clip_reader import digest_of, load_clip
from audiomamba.errors import TrainingError
from audiomamba.progress import Progress
from audiomamba.train.distillation.example_shards import open_tensors
from audiomamba.train.distillation.teacher_model import TeacherModel

__all__ = ["Pool", "Window", "fill_pool"]

SECONDS_PER_FILE, RECORDINGS_PER_FILE = 1800.0, 256
PEAK, FULL_SCALE = 0.9, 32_767
SUFFIX = ".safetensors"


class Window(NamedTuple):
    """A part of a recording.

    Args:
        recording: number of the recording.
        start: its first sample.
    """

    recording: int
    start: int


class Pool:
    """What fill_pool has written.

    Args:
        folder: where to.

    Raises:
        TrainingError: a file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._files = [open_tensors(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
        self._places: list[tuple[int, int, int]] = []  # file, first sample, end
        self.windows: list[Window] = []
        self.names: list[str] = []
        scores = []
        for number, file in enumerate(self._files):
            first = len(self._places)
            ends = file.get_tensor("ends").tolist()
            self._places += zip([number] * len(ends), [0, *ends[:-1]], ends, strict=True)
            owners, starts = file.get_tensor("recordings"), file.get_tensor("starts")
            pairs = zip(owners.tolist(), starts.tolist(), strict=True)
            self.windows += [Window(first + owner, start) for owner, start in pairs]
            self.names += file.metadata()["names"].split("\n")
            scores.append(file.get_tensor("scores"))
        self.scores = np.concatenate(scores).astype(np.float32)

    def length(self, recording: int) -> int:
        """Samples of a recording.

        Args:
            recording: its number.

        Returns:
            How many.
        """
        _, first, end = self._places[recording]
        return end - first

    def read(self, recording: int, start: int, n_samples: int) -> np.ndarray:
        """Read a part of a recording.

        Args:
            recording: its number.
            start: the first sample.
            n_samples: how many; fewer are there at its end.

        Returns:
            (samples,) float32.
        """
        number, first, end = self._places[recording]
        part = self._files[number].get_slice("samples")
        own = part[first + start : min(first + start + n_samples, end)]
        scaled: np.ndarray = own.astype(np.float32) / FULL_SCALE
        return scaled


def fill_pool(
    clips: Clips,
    teacher_model: TeacherModel,
    folder: Path,
    *,
    n_windows: int,
    progress: Progress | None = None,
) -> Pool:
    """Decode recordings and let a teacher hear them; files that are there already stay.

    Args:
        clips: the recordings.
        teacher_model: the teacher, whose rate the recordings get.
        folder: where to; it is made.
        n_windows: of each recording the teacher hears at most so many windows, as long as its
            input.
        progress: called with the number of recordings that are done, and of all.

    Returns:
        The pool.

    Raises:
        AudioError: a recording cannot be read.
        TrainingError: a file is of other recordings or another teacher, or damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = 0
    for number, some in enumerate(_plan(clips)):
        path = folder / f"{number:05}{SUFFIX}"
        mark = _mark(some, teacher_model, n_windows)
        if not path.exists():
            write_bytes(path, _heard(some, teacher_model, n_windows, mark))
        elif open_tensors(path).metadata()["of"] != mark:
            raise TrainingError(
                f"{path}: of other recordings, another teacher or other windows; delete the folder "
                "or name another"
            )
        done += len(some)
        if progress is not None:
            progress(done, len(clips))
    return Pool(folder)


def _plan(clips: Clips) -> Iterator[list[Clip]]:
    """The recordings of each file."""
    some: list[Clip] = []
    seconds = 0.0
    for clip in clips:
        if some and (seconds >= SECONDS_PER_FILE or len(some) == RECORDINGS_PER_FILE):
            yield some
            some, seconds = [], 0.0
        some.append(clip)
        seconds += clip.seconds or 0.0
    if some:
        yield some


def _mark(clips: Sequence[Clip], teacher_model: TeacherModel, n_windows: int) -> str:
    """What tells a file from those of other recordings, teachers and windows."""
    about = [
        teacher_model.fingerprint,
        n_windows,
        *((digest_of(it), it.start_s, it.end_s) for it in clips),
    ]
    return hashlib.blake2b(repr(about).encode(), digest_size=16).hexdigest()


def _heard(clips: Sequence[Clip], teacher_model: TeacherModel, n_windows: int, mark: str) -> bytes:
    """The content of a file."""
    samples, ends, owners, starts, scores = [], [0], [], [], []
    for owner, clip in enumerate(clips):
        sound = load_clip(clip, teacher_model.sample_rate)
        sound = sound * (PEAK / sound.abs().max().clamp(min=1e-6))
        samples.append((sound * FULL_SCALE).round().to(torch.int16).numpy())
        ends.append(ends[-1] + len(sound))
        for start in _starts(len(sound), teacher_model.n_samples, n_windows):
            owners.append(owner)
            starts.append(start)
            scores.append(_scores(teacher_model, sound[start : start + teacher_model.n_samples]))
    tensors = {
        "samples": np.concatenate(samples),
        "ends": np.array(ends[1:], dtype=np.int64),
        "recordings": np.array(owners, dtype=np.int32),
        "starts": np.array(starts, dtype=np.int64),
        "scores": np.stack(scores),
    }
    return save(tensors, metadata={"of": mark, "names": "\n".join(it.name for it in clips)})


def _starts(n_samples: int, n_window: int, most: int) -> list[int]:
    """Where windows begin: evenly over the recording, no more than fit side by side."""
    n_windows = min(most, max(1, n_samples // n_window))
    rest = max(0, n_samples - n_window)
    return [rest * index // max(1, n_windows - 1) for index in range(n_windows)]


def _scores(teacher_model: TeacherModel, sound: Tensor) -> np.ndarray:
    scores: np.ndarray = teacher_model.hear([sound]).logits[0].sigmoid().half().numpy()
    return scores
