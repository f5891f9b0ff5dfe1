"""The scores of every moment of a recording, as a whole."""

from dataclasses import dataclass

import torch
from torch import Tensor

from audiomamba.infer.events import EventRule, find_events
from audiomamba.infer.frame_scores import score_frames
from audiomamba.infer.framing import Framing
from audiomamba.infer.recording import Audio
from audiomamba.infer.results import Event
from audiomamba.infer.sound_model import SoundModel

__all__ = ["Timeline", "make_timeline"]


@dataclass(frozen=True)
class Timeline:
    """Scores of every moment of a recording.

    Args:
        labels: the classes.
        step_s: seconds from one frame to the next; the first begins with the recording.
        seconds: length of the recording.
        scores: (frames, classes) float32, each from 0 to 1; as many frames as cover the recording.

    Examples:
        >>> scores = torch.tensor([[0.1], [0.8], [0.9], [0.1]])
        >>> line = Timeline(("dog",), 0.5, 2.0, scores)
        >>> [(event.start_s, event.end_s) for event in line.events(EventRule(median_s=0.0))]
        [(0.5, 1.5)]
    """

    labels: tuple[str, ...]
    step_s: float
    seconds: float
    scores: Tensor

    def events(self, rule: EventRule | None = None) -> list[Event]:
        """Find what is heard from when to when.

        Args:
            rule: how scores become events; None for the defaults.

        Returns:
            The events in the order of their starts.

        Raises:
            UnknownNameError: the rule names a class that the model has not.
        """
        return find_events(self.scores, self.labels, self.step_s, rule, seconds=self.seconds)


def make_timeline(
    sound_model: SoundModel, recording: Audio, framing: Framing | None = None
) -> Timeline:
    """Score every moment of a recording.

    Args:
        sound_model: the model.
        recording: as for Tagger.tag.
        framing: how the recording becomes frames; None for the defaults.

    Returns:
        The scores of the whole recording.

    Raises:
        AudioError: as for Tagger.tag.
        ConfigError: as for Tagger.tag, or the framing does not fit the model.
    """
    framing = framing or Framing()
    frames = score_frames(sound_model, recording, framing)
    scores = torch.cat(list(frames))
    return Timeline(sound_model.labels, framing.step_s, frames.seconds, scores)
