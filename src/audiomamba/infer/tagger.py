"""The tagger: a trained model with its front end and labels, ready for recordings."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from audiomamba import audio, checkpoints
from audiomamba.audio.resample import resample
from audiomamba.errors import AudioError, ConfigError, UnknownNameError
from audiomamba.infer.windows import WindowBatch, WindowMean, cut

if TYPE_CHECKING:
    from audiomamba.infer.timeline import Framing, Timeline

__all__ = ["Audio", "Mode", "Scored", "Tag", "Tagger", "load"]

Samples = Tensor | NDArray[Any]
Audio = str | Path | BinaryIO | tuple[Samples, int]
Mode = Literal["windows", "native"]

WINDOWS_PER_BATCH = 8


@dataclass(frozen=True, slots=True)
class Tag:
    """One thing that may be heard, with the model's score for it, from 0 to 1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model says about a whole recording.

    Args:
        scores: (classes,) float32, each from 0 to 1, in the order of the model's labels.
        seconds: length of the recording.
        window_s: length of the windows that it was read in.
    """

    scores: Tensor
    seconds: float
    window_s: float

    @property
    def note(self) -> str:
        """What is to be known about the scores: that they rest on little sound; else empty."""
        if self.seconds >= self.window_s / 2:
            return ""
        return f"{self.seconds:.3g} s of sound, under half of a window of {self.window_s:.3g} s"


class Tagger:
    """Scores what is heard in recordings of any length.

    Args:
        checkpoint: the model with its front end and labels; the model is put in evaluation mode.
            Attribute thresholds says from which score on a label is heard; empty if that is not
            known.

    Raises:
        ConfigError: the model reads images.
    """

    def __init__(self, checkpoint: checkpoints.Checkpoint) -> None:
        if checkpoint.front_end is None:
            raise ConfigError(f"{checkpoint.name} is a model of images; expected one of sound")
        self.name = checkpoint.name
        self.labels = checkpoint.labels
        self.front_end = checkpoint.front_end
        self.model = checkpoint.model.eval()
        self.familiarity = checkpoint.ood_detector
        self.thresholds = dict(zip(self.labels, checkpoint.thresholds or (), strict=False))
        self._scores = checkpoint.scores

    def tag(
        self,
        recording: Audio,
        *,
        window_s: float | None = None,
        hop_s: float | None = None,
        mode: Mode = "windows",
    ) -> list[Tag]:
        """Score every label of the model for one recording.

        A recording longer than a window is read window by window; their scores are averaged, so
        that every part of the recording counts alike. Or it is read natively, in one pass.

        Args:
            recording: a file's path, a file open for reading bytes, or (samples, sample_rate) with
                samples (samples,) or (samples, channels), floating point from -1 to 1.
            window_s: length of a window in seconds, at most the model's input; None for that.
            hop_s: seconds from one window's start to the next's, at most window_s; None for that.
            mode: "windows", with memory that does not grow with the recording; or "native", where
                the model can: all of it in one pass, with memory for each of its frames.

        Returns:
            One Tag per label, the highest score first.

        Raises:
            AudioError: the recording cannot be read, or holds no samples.
            ConfigError: the samples have another shape or type, a length is out of its range, or
                the model cannot read natively.
            UnknownNameError: there is no such mode.
        """
        scored = self.score(recording, window_s=window_s, hop_s=hop_s, mode=mode)
        return self.ranked(scored.scores)

    def scores(
        self,
        recording: Audio,
        *,
        window_s: float | None = None,
        hop_s: float | None = None,
        mode: Mode = "windows",
    ) -> Tensor:
        """Score every label of the model for one recording, in the order of the labels.

        Args:
            recording: as for tag.
            window_s: as for tag.
            hop_s: as for tag.
            mode: as for tag.

        Returns:
            (classes,) float32, each from 0 to 1.

        Raises:
            AudioError: as for tag.
            ConfigError: as for tag.
            UnknownNameError: as for tag.
        """
        return self.score(recording, window_s=window_s, hop_s=hop_s, mode=mode).scores

    def score(
        self,
        recording: Audio,
        *,
        window_s: float | None = None,
        hop_s: float | None = None,
        mode: Mode = "windows",
    ) -> Scored:
        """Score one recording, and say how long it is and what its scores rest on.

        Args:
            recording: as for tag.
            window_s: as for tag.
            hop_s: as for tag.
            mode: as for tag.

        Returns:
            The scores of all labels, with the recording's length.

        Raises:
            AudioError: as for tag.
            ConfigError: as for tag.
            UnknownNameError: as for tag.
        """
        self.check_mode(mode, window_s, hop_s)
        if mode == "native":
            return self._score_whole(recording)
        mean, rate = WindowMean(), self.front_end.sample_rate
        for batch in self.windows(recording, window_s=window_s, hop_s=hop_s):
            scores = self.score_windows(batch)
            for start, length, row in zip(
                batch.starts.tolist(), batch.lengths.tolist(), scores, strict=True
            ):
                mean.add(start, length, row)
        window = self.window_samples(window_s, hop_s)[0]
        return Scored(mean.result(), mean.n_samples / rate, window / rate)

    def check_mode(self, mode: str, window_s: float | None, hop_s: float | None) -> None:
        """Refuse a way of reading that does not fit the model or the windows asked for.

        Args:
            mode: as for tag.
            window_s: as for tag.
            hop_s: as for tag.

        Raises:
            ConfigError: a length is out of its range, windows were asked for in mode "native", or
                the model cannot read so.
            UnknownNameError: there is no such mode.
        """
        if mode not in get_args(Mode):
            raise UnknownNameError("mode", mode, get_args(Mode))
        if mode == "windows":
            self.window_samples(window_s, hop_s)
            return
        if window_s is not None or hop_s is not None:
            raise ConfigError("windows were asked for in mode 'native', which has none")
        if not self.model.config.one_pass:
            raise ConfigError(
                f"{self.name} cannot read a recording of any length in one pass; use mode 'windows'"
            )

    @torch.inference_mode()
    def _score_whole(self, recording: Audio) -> Scored:
        samples, front_end = self.read(recording), self.front_end
        seconds = len(samples) / front_end.sample_rate
        scores = self.score_features(audio.features(samples, self.unlimited(len(samples)))[None])
        return Scored(scores[0], seconds, max(seconds, front_end.clip_s))

    def unlimited(self, n_samples: int) -> audio.FrontEnd:
        """The front end for a recording in one pass: a short one is padded as a window is.

        Args:
            n_samples: samples of the recording.

        Returns:
            The settings, with as many frames as the recording has.
        """
        n_frames = self.front_end.frames_in(n_samples)
        if not self._any_length:
            n_frames = max(n_frames, self.front_end.n_frames)
        return replace(self.front_end, n_frames=n_frames)

    def ranked(self, scores: Tensor) -> list[Tag]:
        """Name scores.

        Args:
            scores: (classes,) in the order of the labels.

        Returns:
            One Tag per label, the highest score first.
        """
        tags = [Tag(label, it) for label, it in zip(self.labels, scores.tolist(), strict=True)]
        return sorted(tags, key=lambda tag: -tag.score)

    def windows(
        self, recording: Audio, *, window_s: float | None = None, hop_s: float | None = None
    ) -> Iterator[WindowBatch]:
        """Read a recording as windows; memory does not grow with its length.

        Args:
            recording: as for tag.
            window_s: as for tag.
            hop_s: as for tag.

        Returns:
            Batches of windows, at least one, whose samples are at front_end.sample_rate.

        Raises:
            AudioError: as for tag.
            ConfigError: as for tag.
        """
        n_samples, hop = self.window_samples(window_s, hop_s)
        return cut(self.blocks(recording), n_samples, hop, batch_size=WINDOWS_PER_BATCH)

    def window_samples(self, window_s: float | None, hop_s: float | None) -> tuple[int, int]:
        """Look up how a recording is cut into windows.

        Args:
            window_s: as for tag.
            hop_s: as for tag.

        Returns:
            Samples in a window, and from one window's start to the next's.

        Raises:
            ConfigError: a length is out of its range.
        """
        rate, longest = self.front_end.sample_rate, self.front_end.n_samples
        shortest = min(self.front_end.window_samples, longest)
        n_samples = longest if window_s is None else _in_samples(window_s, rate)
        if not shortest <= n_samples <= longest:
            raise ConfigError(
                f"a window of {window_s} s was asked for; "
                f"{self.name} takes {shortest / rate:.3g} to {longest / rate:.4g} s"
            )
        hop = n_samples if hop_s is None else _in_samples(hop_s, rate)
        if not 1 <= hop <= n_samples:
            raise ConfigError(
                f"a hop of {hop_s} s was asked for; expected more than 0 and at most the window's "
                f"{n_samples / rate:.4g} s, so that nothing is left out"
            )
        return n_samples, hop

    @torch.inference_mode()
    def score_windows(self, batch: WindowBatch) -> Tensor:
        """Score windows.

        Args:
            batch: of one recording or of several.

        Returns:
            (windows, classes) float32, each from 0 to 1.
        """
        features, lengths = self.inputs(batch)
        return self.score_features(features, lengths)

    def inputs(self, batch: WindowBatch) -> tuple[Tensor, Tensor | None]:
        """Make the model's input from windows.

        Args:
            batch: of one recording or of several.

        Returns:
            Features (windows, frames, mels), and the number of valid frames of each window for the
            model's argument lengths; None where all are.
        """
        shortest = self.front_end.window_samples
        rows = [
            row[: max(length, shortest)]
            for row, length in zip(batch.samples, batch.lengths.tolist(), strict=True)
        ]
        if len({len(row) for row in rows}) == 1:
            n_samples = len(rows[0])
            return audio.features(batch.samples[:, :n_samples], self._fitted(n_samples)), None
        features = [audio.features(row, self._fitted(len(row))) for row in rows]
        lengths = torch.tensor([len(one) for one in features])
        return pad_sequence(features, batch_first=True), lengths if self._any_length else None

    @property
    def mixes_lengths(self) -> bool:
        """Whether windows of different lengths may share a batch."""
        return not self._any_length or self.model.config.reads_sound

    @property
    def _any_length(self) -> bool:
        """Whether a short recording is read as it is, without padding."""
        return self.model.config.any_length

    def score_features(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score the model's input.

        Args:
            features: (windows, frames, mels).
            lengths: (windows,) valid frames of each; None for all.

        Returns:
            (windows, classes) float32, each from 0 to 1.
        """
        if self.familiarity is None:
            logits: Tensor = self.model(features, lengths)
            return self.as_scores(logits)
        embeddings = self.model.embed(features, lengths)
        logits = self.model.head(embeddings)
        factor: Tensor = self.familiarity(embeddings)
        return self.as_scores(logits) * factor.unsqueeze(1)

    def as_scores(self, logits: Tensor) -> Tensor:
        """Turn logits into scores, without regard to familiarity.

        Args:
            logits: (..., classes).

        Returns:
            (..., classes) float32, each from 0 to 1.
        """
        logits = logits.float()
        return logits.softmax(-1) if self._scores == "softmax" else logits.sigmoid()

    def _fitted(self, n_samples: int) -> audio.FrontEnd:
        """The front end for windows of this length: without padding if the model can do without."""
        return self.front_end.unpadded(n_samples) if self._any_length else self.front_end

    def blocks(self, recording: Audio) -> Iterator[Tensor]:
        """Decode, mix to one channel and resample to the model's rate, block by block.

        Args:
            recording: as for tag.

        Yields:
            (samples,) float32 at front_end.sample_rate, at least one.

        Raises:
            AudioError: as for tag.
            ConfigError: as for tag.
        """
        rate = self.front_end.sample_rate
        if not isinstance(recording, tuple):
            yield from audio.stream(recording, sample_rate=rate)
            return
        samples = _mono(recording[0])
        if not len(samples):
            raise AudioError("the recording has no samples")
        yield resample(samples, from_hz=recording[1], to_hz=rate)

    def timeline(self, recording: Audio, framing: "Framing | None" = None) -> "Timeline":
        """Score every moment of one recording.

        Args:
            recording: as for tag.
            framing: how the recording becomes frames; None for ten frames a second.

        Returns:
            The scores; its method events gives what is heard from when to when.

        Raises:
            AudioError: as for tag.
            ConfigError: as for tag, or the framing does not fit the model.
        """
        from audiomamba.infer.timeline import timeline

        return timeline(self, recording, framing)

    def embed(self, recording: Audio) -> Tensor:
        """Embed one recording as one vector, the mean over its windows.

        Args:
            recording: as for tag.

        Returns:
            (dim,) float32.

        Raises:
            AudioError: as for tag.
            ConfigError: as for tag.
        """
        from audiomamba.infer.embed import embed

        return embed(self, recording)

    def read(self, recording: Audio) -> Tensor:
        """Decode, mix to one channel and resample to the model's rate.

        Args:
            recording: as for tag.

        Returns:
            (samples,) float32 at front_end.sample_rate, at least one.

        Raises:
            AudioError: as for tag.
            ConfigError: as for tag.
        """
        return torch.cat(list(self.blocks(recording)))


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


def _in_samples(seconds: float, rate_hz: int) -> int:
    """A length in samples; 0 for what is no length."""
    return round(seconds * rate_hz) if 0 < seconds < float("inf") else 0
