"""A trained model together with its front end and labels: sound in, scores out.

Everything that depends on how a model takes its input is here, once: windows, padding, a pass
over a whole recording, the device.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from audiomamba import audio
from audiomamba.audio.blocks import OnDamage
from audiomamba.checkpoints import Checkpoint
from audiomamba.errors import ConfigError
from audiomamba.infer.device import as_device
from audiomamba.infer.label_view import LabelView, label_view
from audiomamba.infer.reading import Reading
from audiomamba.infer.recording import Audio, read_blocks
from audiomamba.infer.results import Tag
from audiomamba.infer.windows import WindowBatch, cut

__all__ = ["WINDOWS_PER_BATCH", "SoundModel"]

WINDOWS_PER_BATCH = 8


class SoundModel:
    """Scores windows of sound.

    Args:
        checkpoint: the model with its front end and labels; the model is put in evaluation mode.
            Attribute thresholds says from which score on a label is heard; empty if that is not
            known.
        view: the labels to show; None for all of the model's.

    Raises:
        ConfigError: the model reads images.

    Examples:
        >>> from audiomamba import checkpoints
        >>> sound_model = SoundModel(checkpoints.load(checkpoints.find("general")))
        >>> batch = next(sound_model.windows("my-clips/dog/1.wav"))
        >>> sound_model.score_windows(batch).shape  # one window
        torch.Size([1, 527])
    """

    def __init__(self, checkpoint: Checkpoint, view: LabelView | None = None) -> None:
        if checkpoint.front_end is None:
            raise ConfigError(f"{checkpoint.name} is a model of images; expected one of sound")
        self.checkpoint = checkpoint
        self.name = checkpoint.name
        self._view = view or label_view(checkpoint, all_labels=True)
        self.labels = self._view.labels
        self.front_end = checkpoint.front_end
        self.model = checkpoint.model.eval()
        self.ood_detector = checkpoint.ood_detector
        self.thresholds = dict(self._view.thresholds)
        self.scored_by = checkpoint.scores
        self.shows_all = self.labels == checkpoint.labels

    @property
    def device(self) -> torch.device:
        """The device that the model computes on."""
        return next(self.model.parameters()).device

    def to(self, device: str | torch.device) -> Self:
        """Move the model to a device; scores and embeddings come back to the CPU.

        Args:
            device: "cpu", "cuda" or "cuda:N".

        Returns:
            The same object.

        Raises:
            ConfigError: there is no such device.
        """
        device = as_device(device)
        self.model.to(device)
        if self.ood_detector is not None:
            self.ood_detector.to(device)
        return self

    def read(self, recording: Audio, *, on_damage: OnDamage | None = None) -> Tensor:
        """Read a whole recording, mixed to one channel, at the model's rate.

        Args:
            recording: as for Tagger.tag.
            on_damage: as for audio.stream.

        Returns:
            (samples,) float32 at front_end.sample_rate, at least one.

        Raises:
            AudioError: the recording cannot be read, or holds no samples.
            ConfigError: the samples have another shape or type.
        """
        return torch.cat(list(self.blocks(recording, on_damage=on_damage)))

    def blocks(self, recording: Audio, *, on_damage: OnDamage | None = None) -> Iterator[Tensor]:
        """Read a recording block by block, as read does.

        Args:
            recording: as for Tagger.tag.
            on_damage: as for audio.stream.

        Yields:
            (samples,) float32 at front_end.sample_rate, at least one.

        Raises:
            AudioError: as for read.
            ConfigError: as for read.
        """
        return read_blocks(recording, self.front_end.sample_rate, on_damage=on_damage)

    def windows(
        self,
        recording: Audio,
        reading: Reading | None = None,
        *,
        on_damage: OnDamage | None = None,
    ) -> Iterator[WindowBatch]:
        """Read a recording as windows; memory does not grow with its length.

        Args:
            recording: as for Tagger.tag.
            reading: the windows' length and hop; None for the defaults.
            on_damage: as for audio.stream.

        Returns:
            Batches of windows, at least one, whose samples are at front_end.sample_rate.

        Raises:
            AudioError: as for read; when a batch is asked for.
            ConfigError: as for read, or a length is out of its range.
        """
        n_samples, hop = self.window_and_hop(reading or Reading())
        blocks = self.blocks(recording, on_damage=on_damage)
        return cut(blocks, n_samples, hop, batch_size=WINDOWS_PER_BATCH)

    def check(self, reading: Reading) -> None:
        """Refuse a way of reading that does not fit the model.

        Args:
            reading: the way of reading.

        Raises:
            ConfigError: a length is out of its range, or the model cannot read in one pass.
        """
        if reading.mode == "windows":
            self.window_and_hop(reading)
        elif not self.model.config.one_pass:
            raise ConfigError(
                f"{self.name} cannot read a recording of any length in one pass; use mode 'windows'"
            )

    def window_and_hop(self, reading: Reading) -> tuple[int, int]:
        """Compute the length of windows and the distance of their starts in samples.

        Args:
            reading: the lengths that were asked for.

        Returns:
            Samples in a window, and from one window's start to the next's: a window's length by
            default.

        Raises:
            ConfigError: a length is out of its range.
        """
        rate, longest = self.front_end.sample_rate, self.front_end.n_samples
        shortest = min(self.front_end.window_samples, longest)
        n_samples = longest if reading.window_s is None else _in_samples(reading.window_s, rate)
        if not shortest <= n_samples <= longest:
            raise ConfigError(
                f"a window of {reading.window_s} s was asked for; "
                f"{self.name} takes {shortest / rate:.3g} to {longest / rate:.4g} s"
            )
        hop = n_samples if reading.hop_s is None else _in_samples(reading.hop_s, rate)
        if not 1 <= hop <= n_samples:
            raise ConfigError(
                f"a hop of {reading.hop_s} s was asked for; expected more than 0 and at most the "
                f"window's {n_samples / rate:.4g} s, so that nothing is left out"
            )
        return n_samples, hop

    def inputs(self, batch: WindowBatch) -> tuple[Tensor, Tensor | None]:
        """Make the model's input from windows.

        Args:
            batch: windows of one recording or of several.

        Returns:
            Features (windows, frames, mels) on the model's device, and the number of valid frames
            of each window for the model's argument lengths; None where all are valid.
        """
        shortest = self.front_end.window_samples
        rows = [
            row[: max(length, shortest)]
            for row, length in zip(batch.samples, batch.lengths.tolist(), strict=True)
        ]
        if len({len(row) for row in rows}) == 1:
            n_samples = len(rows[0])
            return self._features(batch.samples[:, :n_samples], self._front_end(n_samples)), None
        features = [self._features(row, self._front_end(len(row))) for row in rows]
        lengths = torch.tensor([len(one) for one in features])
        return pad_sequence(features, batch_first=True), lengths if self._any_length else None

    def one_pass_inputs(self, samples: Tensor) -> Tensor:
        """Make the model's input from a whole recording; a short one is padded as a window is.

        Args:
            samples: (samples,) at front_end.sample_rate.

        Returns:
            Features (1, frames, mels) on the model's device.
        """
        missing = self.front_end.window_samples - len(samples)
        samples = F.pad(samples, (0, max(0, missing)))  # as in windows, before the mean is taken
        n_frames = self.front_end.frames_in(len(samples))
        if not self._any_length:
            n_frames = max(n_frames, self.front_end.n_frames)
        return self._features(samples[None], replace(self.front_end, n_frames=n_frames))

    @property
    def mixes_lengths(self) -> bool:
        """Whether windows of different lengths may share a batch."""
        return not self._any_length or self.model.config.reads_sound

    @torch.inference_mode()
    def score_windows(self, batch: WindowBatch) -> Tensor:
        """Score windows.

        Args:
            batch: windows of one recording or of several.

        Returns:
            (windows, classes) float32, each from 0 to 1.
        """
        return self.score_features(*self.inputs(batch)).cpu()

    def score_features(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score the model's input.

        Args:
            features: (windows, frames, mels) on the model's device.
            lengths: (windows,) valid frames of each; None for all.

        Returns:
            (windows, classes) float32, each from 0 to 1.
        """
        if self.ood_detector is None:
            logits: Tensor = self.model(features, lengths)
            return self.shown(self.logits_to_scores(logits))
        embeddings = self.model.embed(features, lengths)
        logits = self.model.head(embeddings)
        factor: Tensor = self.ood_detector(embeddings)
        return self.shown(self.logits_to_scores(logits) * factor.unsqueeze(1))

    def logits_to_scores(self, logits: Tensor) -> Tensor:
        """Turn logits into scores, as they are before out-of-distribution detection.

        Args:
            logits: (..., classes).

        Returns:
            (..., classes) float32, each from 0 to 1.
        """
        logits = logits.float()
        return logits.softmax(-1) if self.scored_by == "softmax" else logits.sigmoid()

    def shown(self, scores: Tensor) -> Tensor:
        """Pick the scores of the labels that are shown from those of the model's classes.

        Args:
            scores: (..., classes of the model).

        Returns:
            (..., classes), in the order of the labels.
        """
        return scores if self.shows_all else self._view(scores)

    def ranked(self, scores: Tensor) -> list[Tag]:
        """Name scores.

        Args:
            scores: (classes,) in the order of the labels.

        Returns:
            One Tag per label, the highest score first.
        """
        found = zip(self.labels, scores.tolist(), strict=True)
        ranked = sorted(found, key=lambda one: -one[1])
        if not self.thresholds:
            return [Tag(label, score) for label, score in ranked]
        return [Tag(label, score, score >= self.thresholds[label]) for label, score in ranked]

    @property
    def _any_length(self) -> bool:
        """Whether a short recording is read as it is, without padding."""
        return self.model.config.any_length

    def _front_end(self, n_samples: int) -> audio.FrontEnd:
        """The front end for windows of this length: without padding if the model can do without."""
        return self.front_end.unpadded(n_samples) if self._any_length else self.front_end

    def _features(self, samples: Tensor, front_end: audio.FrontEnd) -> Tensor:
        """Features on the model's device: the only place where sound goes there."""
        return audio.features(samples.to(self.device), front_end)


def _in_samples(seconds: float, rate_hz: int) -> int:
    """A length in samples; 0 for what is no length."""
    return round(seconds * rate_hz) if 0 < seconds < float("inf") else 0
