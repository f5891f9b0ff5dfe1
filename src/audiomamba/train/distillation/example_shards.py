"""Examples in files: the student's features, and what the teacher says.

A file holds some examples, one behind the other, in float16; it is complete or not there. While a
student learns, more files may be added.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from audiomamba.atomic import write_bytes
from audiomamba.errors import TrainingError

__all__ = ["Example", "ExampleShards", "Examples", "open_tensors", "write_shard"]

SUFFIX = ".safetensors"


class Example(NamedTuple):
    """One example.

    Args:
        features: (frames, mels), of what the student hears.
        logits: (labels,), the teacher's.
        embedding: (dim,), the teacher's.
        names: the recordings in it.
    """

    features: np.ndarray
    logits: np.ndarray
    embedding: np.ndarray
    names: tuple[str, ...]


class Examples(NamedTuple):
    """Examples of one length, in float32.

    Args:
        features: (examples, frames, mels).
        logits: (examples, labels).
        embeddings: (examples, dim).
    """

    features: Tensor
    logits: Tensor
    embeddings: Tensor


class _Place(NamedTuple):
    """Where an example is."""

    file: int
    row: int
    frames: slice


def write_shard(path: Path, examples: Sequence[Example], teacher: str) -> None:
    """Write a file, completely or not at all.

    Args:
        path: the file.
        examples: what it holds.
        teacher: fingerprint of the teacher.
    """
    tensors: dict[str, np.ndarray] = {
        "features": np.concatenate([it.features for it in examples]).astype(np.float16),
        "frames": np.array([len(it.features) for it in examples], dtype=np.int64),
        "logits": np.stack([it.logits for it in examples]).astype(np.float16),
        "embeddings": np.stack([it.embedding for it in examples]).astype(np.float16),
    }
    names = "\n".join("\t".join(it.names) for it in examples)
    write_bytes(path, save(tensors, metadata={"teacher": teacher, "recordings": names}))


def open_tensors(path: Path) -> Any:
    """Open a file of tensors, of which parts are read when they are asked for.

    Args:
        path: the file.

    Returns:
        What safetensors.safe_open gives, which has no types.

    Raises:
        TrainingError: it is missing or damaged.
    """
    try:
        return safe_open(path, framework="np")
    except (SafetensorError, OSError) as error:
        raise TrainingError(
            f"{path}: missing or damaged; delete it, and make it anew by the same call"
        ) from error


class ExampleShards:
    """The examples of some files, in the order in which the files were taken in.

    Args:
        folder: where the files are.
        teacher: fingerprint of the teacher; files of another are refused.
    """

    def __init__(self, folder: Path, teacher: str) -> None:
        self.folder, self.teacher = folder, teacher
        self.taken: list[str] = []
        self._files: list[Any] = []
        self._places: list[_Place] = []
        self._logits: list[np.ndarray] = []
        self._embeddings: list[np.ndarray] = []
        self.of_length: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def there(self) -> list[str]:
        """Names of the files that are there by now, sorted."""
        return sorted(path.name for path in self.folder.glob(f"*{SUFFIX}"))

    def take(self, names: Sequence[str]) -> None:
        """Take files in; those that are taken already are left out.

        Args:
            names: of the files.

        Raises:
            TrainingError: a file is missing, damaged or of another teacher.
        """
        for name in names:
            if name not in self.taken:
                self._take(name)

    def batch(self, indices: Sequence[int]) -> Examples:
        """Read examples of one length.

        Args:
            indices: which.

        Returns:
            The examples.
        """
        places = [self._places[index] for index in indices]
        features = [self._files[it.file].get_slice("features")[it.frames] for it in places]
        return Examples(
            _wide(np.stack(features)),
            _wide(np.stack([self._logits[it.file][it.row] for it in places])),
            _wide(np.stack([self._embeddings[it.file][it.row] for it in places])),
        )

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (dim,) of the teacher's embeddings."""
        embeddings = np.concatenate(self._embeddings).astype(np.float32)
        return torch.from_numpy(embeddings.mean(axis=0)), torch.from_numpy(embeddings.std(axis=0))

    def _take(self, name: str) -> None:
        path = self.folder / name
        file = open_tensors(path)
        frames, logits, embeddings = map(file.get_tensor, ("frames", "logits", "embeddings"))
        if file.metadata()["teacher"] != self.teacher:
            raise TrainingError(f"{path}: made with another teacher; name the one that it is of")
        firsts = np.cumsum([0, *frames[:-1]]).tolist()
        for row, (first, n_frames) in enumerate(zip(firsts, frames.tolist(), strict=True)):
            self.of_length.setdefault(n_frames, []).append(len(self._places))
            self._places.append(_Place(len(self._files), row, slice(first, first + n_frames)))
        self._files.append(file)
        self._logits.append(logits)
        self._embeddings.append(embeddings)
        self.taken.append(name)


def _wide(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
