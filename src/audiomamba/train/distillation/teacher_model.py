"""A teacher that says what it hears, as scores of its labels and as an embedding."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from audiomamba import checkpoints
from audiomamba.checkpoints import Checkpoint
from audiomamba.errors import ConfigError
from audiomamba.infer import SoundModel
from audiomamba.infer.windows import WindowBatch

__all__ = ["TeacherModel", "TeacherOutput"]


class TeacherOutput(NamedTuple):
    """What a teacher says of sounds.

    Args:
        logits: (sounds, labels) float32.
        embeddings: (sounds, dim) float32.
    """

    logits: Tensor
    embeddings: Tensor


class TeacherModel:
    """A trained tagger of independent labels that reads sounds of any length.

    Args:
        teacher: a model that ships with the package, a model folder, or a weight file as its
            authors released it.

    Raises:
        UnknownNameError: there is no such model.
        CheckpointError: it cannot be loaded.
        ConfigError: it is no such tagger.

    Examples:
        >>> teacher_model = TeacherModel("general")
        >>> teacher_model.sample_rate, len(teacher_model.checkpoint.labels)
        (32000, 527)
    """

    def __init__(self, teacher: str) -> None:
        if Path(teacher).is_file():
            self.source = Path(teacher)
            self.checkpoint: Checkpoint = checkpoints.read_released(self.source)[0]
            content = self.source.read_bytes()
            self.fingerprint = hashlib.blake2b(content, digest_size=16).hexdigest()
        else:
            self.source = checkpoints.find(teacher)
            self.checkpoint = checkpoints.load(self.source)
            self.fingerprint = checkpoints.fingerprint(self.source)
        if self.checkpoint.scores != "sigmoid" or not self.checkpoint.model.config.any_length:
            raise ConfigError(
                f"{teacher} gives {self.checkpoint.scores} scores and reads "
                f"{'any length' if self.checkpoint.model.config.any_length else 'one length'}; "
                "expected a teacher of independent labels that reads any length"
            )
        self._sound_model = SoundModel(self.checkpoint)
        self._sound_model.model.requires_grad_(False)

    @property
    def sample_rate(self) -> int:
        """The rate that it hears, in Hz."""
        return self._sound_model.front_end.sample_rate

    @property
    def n_samples(self) -> int:
        """Samples of the longest sound that it hears at once."""
        return self._sound_model.front_end.n_samples

    @torch.inference_mode()
    def features(self, sounds: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Make its input.

        Args:
            sounds: (samples,) each.

        Returns:
            Features and lengths, as SoundModel.inputs gives them.
        """
        lengths = torch.tensor([len(sound) for sound in sounds])
        padded = pad_sequence(list(sounds), batch_first=True)
        return self._sound_model.inputs(WindowBatch(padded, torch.zeros_like(lengths), lengths))

    @torch.inference_mode()
    def hear(self, sounds: Sequence[Tensor]) -> TeacherOutput:
        """Listen.

        Args:
            sounds: (samples,) each, at its rate.

        Returns:
            What it says.
        """
        model = self._sound_model.model
        embeddings = model.embed(*self.features(sounds))
        return TeacherOutput(model.head(embeddings).float(), embeddings.float())
