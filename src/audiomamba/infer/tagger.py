"""The tagger: the calls that users make with one loaded model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomamba import checkpoints
from audiomamba.errors import ConfigError
from audiomamba.infer.device import as_device
from audiomamba.infer.embedding import embed_recording
from audiomamba.infer.framing import Framing
from audiomamba.infer.label_view import label_view
from audiomamba.infer.onnx_network import OnnxNetwork, is_exported, read_exported
from audiomamba.infer.reading import Mode, Reading
from audiomamba.infer.recording import Audio
from audiomamba.infer.results import Scored, Tag
from audiomamba.infer.scoring import score_recording
from audiomamba.infer.sound_model import SoundModel
from audiomamba.infer.timeline import Timeline, make_timeline
from audiomamba.infer.windows import WindowBatch

__all__ = ["ExportedTagger", "Tagger", "load"]


class Tagger(SoundModel):
    """Says what is heard in recordings of any length.

    Args:
        checkpoint: the model with its front end and labels; the model is put in evaluation mode.
            Attribute thresholds says from which score on a label is heard; empty if that is not
            known.
        view: the labels to show; None for all of the model's.

    Raises:
        ConfigError: the model reads images.

    Examples:
        >>> import audiomamba
        >>> tagger = audiomamba.load("general", labels=["Dog", "Rain", "Wind"])
        >>> tags = tagger.tag("my-clips/dog/1.wav")
        >>> len(tags), tags[0].score >= tags[1].score
        (3, True)
        >>> tagger.timeline("my-clips/dog/1.wav").scores.shape  # five frames, three labels
        torch.Size([5, 3])
        >>> tagger.embed("my-clips/dog/1.wav").ndim
        1
    """

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
        that every moment of the recording counts alike. Or it is read natively, in one pass.

        Args:
            recording: a file's path, the bytes of a file, a file open for reading bytes, or
                (samples, sample_rate) with samples (samples,) or (samples, channels), floating
                point from -1 to 1. audiomamba.audio.to_mono takes channels first.
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
        return self.ranked(self.scores(recording, window_s=window_s, hop_s=hop_s, mode=mode))

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
        return self.score_recording(
            recording, Reading(window_s=window_s, hop_s=hop_s, mode=mode)
        ).scores

    def score_recording(self, recording: Audio, reading: Reading | None = None) -> Scored:
        """Score one recording, and say how long it is and what its scores rest on.

        Args:
            recording: as for tag.
            reading: in windows, or in one pass; None for the model's own windows.

        Returns:
            The scores of all labels, with the recording's length.

        Raises:
            AudioError: as for tag.
            ConfigError: as for tag.
        """
        return score_recording(self, recording, reading)

    def timeline(self, recording: Audio, framing: Framing | None = None) -> Timeline:
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
        return make_timeline(self, recording, framing)

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
        return embed_recording(self, recording)[0]


class ExportedTagger(Tagger):
    """Says what is heard as Tagger does, by an exported graph; on a CPU.

    Args:
        checkpoint: as read_exported gives it.
        view: as for Tagger.
    """

    @property
    def device(self) -> torch.device:
        """The device that the graph is computed on."""
        return torch.device("cpu")

    def to(self, device: str | torch.device) -> Self:
        """Stay on the CPU; another device is refused."""
        if as_device(device).type != "cpu":
            raise ConfigError(
                f"{self.name} is an exported graph and runs on cpu; use the model it was made from"
            )
        return self

    @property
    def mixes_lengths(self) -> bool:
        """Whether windows of different lengths may share a batch."""
        return False

    def inputs(self, batch: WindowBatch) -> tuple[Tensor, Tensor | None]:
        """Give the windows themselves, which are of one length."""
        shortest = self.front_end.window_samples
        n_samples = max(int(batch.lengths.max()), shortest)
        return self._fitted(batch.samples[:, :n_samples]), None

    def one_pass_inputs(self, samples: Tensor) -> Tensor:
        """Give the samples themselves."""
        return self._fitted(samples[None])

    def score_features(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score waveforms (windows, samples)."""
        del lengths
        return self.shown(self._network.output("scores", features))

    @property
    def _network(self) -> OnnxNetwork:
        return cast(OnnxNetwork, self.model)

    def _fitted(self, waveforms: Tensor) -> Tensor:
        n_samples = self._network.n_samples
        return (
            waveforms
            if n_samples is None
            else F.pad(waveforms, (0, n_samples - waveforms.shape[1]))
        )


def load(
    name_or_folder: str | Path,
    *,
    labels: Sequence[str] | None = None,
    level: int | None = None,
    all_labels: bool = False,
) -> Tagger:
    """Load a trained model.

    Args:
        name_or_folder: a model that ships with the package, such as "general", or a folder written
            by training, conversion or export.
        labels: show only these labels; None for those that the model vouches for.
        level: show the kinds at this level of the model's ontology instead of its labels, 1 for the
            roots; None for the labels.
        all_labels: also show the labels that the model does not vouch for.

    Returns:
        The tagger.

    Raises:
        UnknownNameError: no model has that name, and no folder either; or the model does not know
            a label.
        CheckpointError: the folder is damaged or holds something else.
        ConfigError: the model reads images or has no ontology.

    Examples:
        >>> import audiomamba
        >>> tagger = audiomamba.load("general", labels=["Dog", "Rain"])
        >>> tagger.labels
        ('Dog', 'Rain')
    """
    folder = checkpoints.find(name_or_folder)
    exported = is_exported(folder)
    checkpoint = read_exported(folder) if exported else checkpoints.load(folder)
    view = label_view(checkpoint, labels=labels, level=level, all_labels=all_labels)
    return (ExportedTagger if exported else Tagger)(checkpoint, view)
