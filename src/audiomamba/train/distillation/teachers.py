"""Trained models that others learn from."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from audiomamba import checkpoints
from audiomamba.audio.resample import resample
from audiomamba.errors import ConfigError
from audiomamba.infer import SoundModel
from audiomamba.infer.windows import WindowBatch
from audiomamba.recipes import Recipe
from audiomamba.train.fitting.losses import Loss

__all__ = ["Teacher", "find_teachers", "fingerprints"]

NEGLIGIBLE = 0.01  # of a window: a rest as short as this after a clip's window is left out
SUREST = 1 - 1e-7  # the highest probability, so that its odds are finite


def find_teachers(recipe: Recipe, held_out: str) -> dict[str, Path]:
    """Find the models that a recipe learns from.

    Args:
        recipe: the recipe.
        held_out: the split that is held out, for names with {fold} in them.

    Returns:
        Their folders by name.

    Raises:
        UnknownNameError: one is neither a model that ships with the package nor a folder.
    """
    names = [name.replace("{fold}", held_out) for name in recipe.distillation.teachers]
    return {name: checkpoints.find(name) for name in names}


def fingerprints(recipe: Recipe, held_out: str) -> dict[str, str]:
    """Hash the models that a recipe learns from.

    Args:
        recipe: the recipe.
        held_out: as for find_teachers.

    Returns:
        What checkpoints.fingerprint gives, by name.

    Raises:
        UnknownNameError: as for find_teachers.
        CheckpointError: a file is missing or cannot be read.
    """
    found = find_teachers(recipe, held_out)
    return {name: checkpoints.fingerprint(folder) for name, folder in found.items()}


class Teacher:
    """A trained model that says what it hears, whatever its rate, its front end and its length.

    Args:
        name: what to call it in messages.
        folder: the model's folder, or a run's.
        labels: names of the classes to speak of, in the order to speak of them.
        loss: that of the recipe that learns from it.

    Raises:
        CheckpointError: the model cannot be loaded.
        ConfigError: it is a model of images, or does not know a class.
    """

    def __init__(self, name: str, folder: Path, labels: Sequence[str], loss: Loss) -> None:
        checkpoint = checkpoints.load(folder)
        self.name = name
        self.fingerprint = checkpoints.fingerprint(folder)
        self.loss = loss
        self.scores = checkpoint.scores
        self.n_classes = len(checkpoint.labels)
        self._places = _places(name, checkpoint.labels, labels)
        self._sound_model = SoundModel(checkpoint)
        self._sound_model.model.requires_grad_(False)

    @property
    def sample_rate(self) -> int:
        """The rate that it hears, in Hz."""
        return self._sound_model.front_end.sample_rate

    @torch.inference_mode()
    def hear(self, waveforms: Tensor, lengths: Tensor, sample_rate: int) -> Tensor:
        """Score clips, those that are longer than the model's input window by window.

        A rest after a window that is shorter than a hundredth of one is left out.

        Args:
            waveforms: (batch, samples), zeros after a clip's end; the model goes to their device.
            lengths: (batch,) integers, samples of each clip, at least 1.
            sample_rate: theirs, in Hz.

        Returns:
            Logits (batch, own classes) float32: the mean over a clip's windows, by their length.
        """
        device, front_end = waveforms.device, self._sound_model.front_end
        model = self._sound_model.model.to(device)
        waveforms, lengths = _at_rate(waveforms, lengths.cpu(), sample_rate, front_end.sample_rate)
        window = front_end.n_samples
        total = torch.zeros(len(lengths), self.n_classes, device=device)
        heard = torch.zeros(len(lengths), 1, device=device)
        for start in range(0, int(lengths.max()), window):
            rows = torch.nonzero(lengths - start > (NEGLIGIBLE * window if start else 0)).flatten()
            if not len(rows):
                break
            left = (lengths[rows] - start).clamp(max=window)
            rows = rows.to(device)
            piece = waveforms[rows, start : start + window]
            features, valid = self._sound_model.inputs(
                WindowBatch(piece, torch.full_like(left, start), left)
            )
            logits = model(features, valid).float()
            weight = left[:, None].to(device, torch.float32)
            total.index_add_(0, rows, logits * weight)
            heard.index_add_(0, rows, weight)
        return total / heard

    def answer(self, logits: Tensor) -> Tensor:
        """Put what was heard into the form that is learned.

        Of a model that tells exactly one class a loss "bce" learns the odds of its probabilities;
        of a model of independent labels a loss "ce" learns its scores, divided by their sum.

        Args:
            logits: (..., own classes), as `hear` gives them.

        Returns:
            Logits (..., classes) of the classes to speak of, for sigmoid or softmax as the loss
            has it.
        """
        if self.loss == "bce" and self.scores == "softmax":
            log_p = logits.log_softmax(dim=-1)
            logits = log_p - torch.log1p(-log_p.exp().clamp(max=SUREST))
        elif self.loss == "ce" and self.scores == "sigmoid":
            logits = F.logsigmoid(logits)
        return logits[..., self._places]


def _places(name: str, own: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where a teacher has the classes to speak of."""
    index_of = {label: number for number, label in enumerate(own)}
    missing = [label for label in wanted if label not in index_of]
    if missing:
        more = f" and {len(missing) - 1} more classes" if len(missing) > 1 else ""
        known = ", ".join(own[:5]) + (" ..." if len(own) > 5 else "")
        raise ConfigError(
            f"the teacher {name} does not know {missing[0]!r}{more} of the data set; it knows "
            f"{known}; expected a model with the data set's classes, in any order"
        )
    return [index_of[label] for label in wanted]


def _at_rate(waveforms: Tensor, lengths: Tensor, from_hz: int, to_hz: int) -> tuple[Tensor, Tensor]:
    """Clips at another rate."""
    if from_hz == to_hz:
        return waveforms, lengths
    rows = [
        resample(row[:length], from_hz, to_hz)
        for row, length in zip(waveforms.cpu(), lengths.tolist(), strict=True)
    ]
    changed = pad_sequence(rows, batch_first=True).to(waveforms.device)
    return changed, torch.tensor([len(row) for row in rows])
