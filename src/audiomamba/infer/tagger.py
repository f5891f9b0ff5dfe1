"""The tagger: a trained model with its front end and labels, ready for recordings."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiomamba import audio, checkpoints
from audiomamba.audio.resample import resample
from audiomamba.errors import AudioError, ConfigError
from audiomamba.infer.windows import cut

__all__ = ["Audio", "Tag", "Tagger", "load"]

Samples = Tensor | NDArray[Any]
Audio = str | Path | BinaryIO | tuple[Samples, int]

WINDOWS_PER_BATCH = 8


@dataclass(frozen=True, slots=True)
class Tag:
    """One thing that may be heard, with the model's score for it, from 0 to 1."""

    label: str
    score: float


class Tagger:
    """Scores what is heard in recordings of any length.

    Args:
        checkpoint: the model with its front end and labels; the model is put in evaluation mode.

    Raises:
        ConfigError: the model reads images.
    """

    def __init__(self, checkpoint: checkpoints.Checkpoint) -> None:
        if checkpoint.front_end is None:
            raise ConfigError(f"{checkpoint.name} is a model of images; expected one of sound")
        self.name = checkpoint.name
        self.labels = checkpoint.labels
        self.front_end = checkpoint.front_end
        self._model = checkpoint.model.eval()
        self._scores = checkpoint.scores
        self._familiarity = checkpoint.familiarity

    def tag(self, recording: Audio) -> list[Tag]:
        """Score every label of the model for one recording.

        A recording longer than the model's input is cut into windows that follow one another; their
        scores are averaged, each weighted by the seconds that it covers.

        Args:
            recording: a file's path, a file open for reading bytes, or (samples, sample_rate) with
                samples (samples,) or (samples, channels), floating point from -1 to 1.

        Returns:
            One Tag per label, the highest score first.

        Raises:
            AudioError: the recording cannot be read, or holds less than one frame of sound.
            ConfigError: the samples have another shape or type.
        """
        scores = self.scores(recording).tolist()
        tags = [Tag(label, score) for label, score in zip(self.labels, scores, strict=True)]
        return sorted(tags, key=lambda tag: -tag.score)

    @torch.inference_mode()
    def scores(self, recording: Audio) -> Tensor:
        """Score every label of the model for one recording, in the order of the labels.

        Args:
            recording: as for tag.

        Returns:
            (classes,) float32, each from 0 to 1.

        Raises:
            AudioError: as for tag.
            ConfigError: as for tag.
        """
        samples, front_end = self.read(recording), self.front_end
        total, n_covered = torch.zeros(len(self.labels)), 0
        for windows in cut(
            samples,
            front_end.n_samples,
            shortest=front_end.window_samples,
            batch_size=WINDOWS_PER_BATCH,
        ):
            features = audio.features(windows, self._fitted(windows.shape[1]))
            total += self._score(features).sum(0) * windows.shape[1]
            n_covered += windows.numel()
        return total / n_covered

    def _score(self, features: Tensor) -> Tensor:
        """The scores (windows, classes) of features (windows, frames, mels)."""
        if self._familiarity is None:
            logits: Tensor = self._model(features)
            return self._as_scores(logits)
        embeddings = self._model.embed(features)
        logits = self._model.head(embeddings)
        factor: Tensor = self._familiarity(embeddings)
        return self._as_scores(logits) * factor.unsqueeze(1)

    def _as_scores(self, logits: Tensor) -> Tensor:
        logits = logits.float()
        return logits.softmax(-1) if self._scores == "softmax" else logits.sigmoid()

    def _fitted(self, n_samples: int) -> audio.FrontEnd:
        """The front end for windows of this length: without padding if the model can do without."""
        front_end = self.front_end
        if not self._model.config.any_length:
            return front_end
        n_frames = min(front_end.frames_in(n_samples), front_end.n_frames)
        return replace(front_end, n_frames=n_frames)

    def read(self, recording: Audio) -> Tensor:
        """Decode, mix to one channel and resample to the model's rate.

        Args:
            recording: as for tag.

        Returns:
            (samples,) float32 at front_end.sample_rate.

        Raises:
            AudioError: as for tag.
            ConfigError: as for tag.
        """
        rate = self.front_end.sample_rate
        if isinstance(recording, tuple):
            source = "the recording"
            samples = resample(_mono(recording[0]), from_hz=recording[1], to_hz=rate)
        else:
            source = str(recording) if isinstance(recording, str | Path) else "the recording"
            samples = audio.load(recording, sample_rate=rate)
        shortest = self.front_end.window_samples
        if len(samples) < shortest:
            raise AudioError(
                f"{source}: {1000 * len(samples) / rate:.3g} ms of sound; "
                f"expected at least {1000 * shortest / rate:.3g} ms"
            )
        return samples


def load(name_or_folder: str | Path) -> Tagger:
    """Load a trained model.

    Args:
        name_or_folder: a model that ships with the package, such as "starter", or a folder written
            by training or conversion.

    Returns:
        The tagger.

    Raises:
        UnknownNameError: no model has that name, and no folder either.
        CheckpointError: the folder is damaged or holds something else.
    """
    return Tagger(checkpoints.load(checkpoints.find(name_or_folder)))


def _mono(samples: Samples) -> Tensor:
    """(samples,) or (samples, channels) -> (samples,) float32, checked."""
    tensor = torch.as_tensor(np.asarray(samples))
    if tensor.ndim not in (1, 2) or not tensor.is_floating_point():
        raise ConfigError(
            f"samples are {tensor.dtype} of shape {tuple(tensor.shape)}; "
            "expected floating point (samples,) or (samples, channels)"
        )
    mono = tensor.float() if tensor.ndim == 1 else tensor.float().mean(1)
    if not mono.isfinite().all():
        raise AudioError("the recording holds NaN or infinite samples; expected finite numbers")
    return mono
