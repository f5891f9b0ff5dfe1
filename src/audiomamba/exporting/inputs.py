"""What the input of an exported graph is: sound, features or images, of which lengths."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from audiomamba.audio import FrontEnd
from audiomamba.checkpoints import Checkpoint
from audiomamba.errors import ConfigError
from audiomamba.exporting.front_end import FrontEndGraph

__all__ = ["GraphInput", "Length", "graph_input"]

Length = float | Literal["any"] | None
CHECKED_S = (0.3, 5.0)  # lengths of sound that are tried, beside the model's own


@dataclass(frozen=True, kw_only=True)
class GraphInput:
    """The one input of a graph.

    Args:
        name: "waveform", "features" or "images".
        axes: a name for one of any length, a number for a fixed one; batch first.
        example: to trace with, a batch of two.
        front_end: the part of the graph that makes features; None if they are what comes in.
        reads: the front end's settings, of the frames that the model gets; None for images.
        any_length: whether the model reads sound of any length as it is.
        checked: samples of sound to compare with the model; empty for images.
    """

    name: str
    axes: list[str | int]
    example: Tensor
    front_end: FrontEndGraph | None = None
    reads: FrontEnd | None = None
    any_length: bool = False
    checked: tuple[int, ...] = ()

    @property
    def longest(self) -> int | None:
        """Samples of the longest sound that is read; None for any."""
        fixed = self.axes[1] if self.name == "waveform" else None
        if isinstance(fixed, int):
            return fixed
        return None if self.any_length or self.reads is None else self.reads.n_samples

    @property
    def longest_s(self) -> float | None:
        """Seconds of sound that any longer than fails inside the graph; None if none does."""
        padded = self.name == "waveform" and self.axes[1] == "samples" and not self.any_length
        return self.reads.clip_s if padded and self.reads is not None else None


def graph_input(checkpoint: Checkpoint, *, features_in: bool, length: Length) -> GraphInput:
    """Choose the input of a model's graph.

    Args:
        checkpoint: the model.
        features_in: whether features come in instead of sound.
        length: seconds of sound, which then is the only length; "any"; None for any if the model
            can, else for up to the model's own.

    Returns:
        The input.

    Raises:
        ConfigError: the model cannot read this length, or reads images and is asked for something
            that only sound has.
    """
    config, front_end = checkpoint.model.config, checkpoint.front_end
    if front_end is None:
        if features_in or length is not None:
            raise ConfigError(f"{checkpoint.name} reads images: leave out features and length")
        size = (3, config.n_mels, config.n_frames)
        return GraphInput(name="images", axes=["batch", *size], example=torch.zeros(2, *size))
    any_length = config.any_length and not isinstance(length, float | int)
    if length == "any" and not any_length:
        raise ConfigError(
            f"{checkpoint.name} ({config.family}) reads a fixed number of frames; leave the length "
            f"out for sound of up to {front_end.clip_s:.4g} s, or give seconds"
        )
    fixed = None
    if isinstance(length, float | int):
        fixed = round(length * front_end.sample_rate)
        front_end = replace(front_end, n_frames=_frames_of(checkpoint, front_end, fixed))
    longest = fixed or front_end.n_samples
    rate = front_end.sample_rate
    traced = longest * 3 // 2 if any_length else max(longest // 2, front_end.window_samples)
    checked = {min(round(s * rate), longest) for s in CHECKED_S} | {longest}
    given = GraphInput(
        name="waveform",
        axes=["batch", fixed or "samples"],
        example=torch.zeros(2, fixed or traced),
        front_end=FrontEndGraph(front_end, any_length=any_length),
        reads=front_end,
        any_length=any_length,
        checked=(fixed,) if fixed else tuple(sorted(checked)),
    )
    return _as_features(given) if features_in else given


def _frames_of(checkpoint: Checkpoint, front_end: FrontEnd, n_samples: int) -> int:
    """Frames that the model reads of sound of this length."""
    config, least = checkpoint.model.config, front_end.window_samples
    n_frames = front_end.frames_in(max(n_samples, least))
    if not config.any_length:
        n_frames = max(n_frames, front_end.n_frames)
    if n_samples < least or (n_frames > front_end.n_frames and not config.one_pass):
        longest = "" if config.one_pass else f" and at most {front_end.clip_s:.4g} s"
        raise ConfigError(
            f"a length of {n_samples / front_end.sample_rate:.4g} s was asked for; "
            f"{checkpoint.name} reads at least {least / front_end.sample_rate:.3g} s{longest}"
        )
    return n_frames


def _as_features(given: GraphInput) -> GraphInput:
    """The same with what the front end makes as the input."""
    if given.reads is None:
        return given
    n_frames, n_mels = given.reads.n_frames, given.reads.n_mels
    return replace(
        given,
        name="features",
        axes=["batch", "frames" if given.any_length else n_frames, n_mels],
        example=torch.zeros(2, n_frames, n_mels),
        front_end=None,
    )
