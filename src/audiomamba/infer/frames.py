"""Lays what a model says of the windows of a recording on one line of frames with a fixed step."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["FrameMerger", "Piece"]

_LEAST_WEIGHT = 1e-3  # of a frame at the very edge of a window


@dataclass(frozen=True, slots=True)
class Piece:
    """What a model says of one window, step by step.

    Args:
        start: where the window begins in the recording, in samples.
        length: samples of the recording in it, at least 1.
        values: (steps, channels), at least one step.
        step: samples from one step to the next.
    """

    start: int
    length: int
    values: Tensor
    step: float


class FrameMerger:
    """Merges windows that come in order, and gives out frames as soon as no window can change them.

    A frame has the values in its middle, between the middles of a window's steps by a straight
    line. Where windows overlap, their values are averaged with weights that fall from a window's
    middle to its edges, where a model knows least of what is around.

    Args:
        step: samples from one frame to the next, at least 1; need not be whole.
        n_channels: values of a frame.
    """

    def __init__(self, step: float, n_channels: int) -> None:
        self._step = step
        self._sums = torch.zeros(0, n_channels)  # of the frames that are not given out yet
        self._weights = torch.zeros(0)
        self._first = 0  # number of the first of them
        self._last = torch.zeros(0, n_channels)
        self._n_samples = 0

    def add(self, piece: Piece) -> Tensor:
        """Take the next window.

        Args:
            piece: it begins where the last one began or later.

        Returns:
            (frames, channels), the next frames that are complete: those before the window.
        """
        ready = self._give(self._frames_before(piece.start))
        end = piece.start + piece.length
        self._n_samples = max(self._n_samples, end)
        first, behind = max(self._first, self._frames_before(piece.start)), self._frames_before(end)
        if behind > first:
            self._reserve(behind - self._first)
            middles = (torch.arange(first, behind, dtype=torch.float64) + 0.5) * self._step
            weights = _weights(middles, piece).float()
            places = (middles - piece.start) / piece.step - 0.5
            values = _between(piece.values.float().cpu(), places)
            place = slice(first - self._first, behind - self._first)
            self._sums[place] += weights[:, None] * values
            self._weights[place] += weights
        elif not behind:  # shorter than half a frame: it is all that there is so far
            self._last = piece.values[:1].float().cpu()
        return ready

    def finish(self) -> Tensor:
        """Take the end of the recording.

        Returns:
            (frames, channels), the last frames. Together they cover the recording: there are as
            many as the samples need, rounded up.
        """
        n_frames = math.ceil(self._n_samples / self._step)
        ready = self._give(self._first + len(self._weights))
        if self._first < n_frames:  # less than half a frame is left, with no middle in a window
            ready = torch.cat([ready, self._last.expand(n_frames - self._first, -1)])
        return ready

    def _frames_before(self, sample: int) -> int:
        """How many frames have their middle before a sample."""
        return max(0, math.ceil(sample / self._step - 0.5))

    def _reserve(self, n_frames: int) -> None:
        missing = n_frames - len(self._weights)
        if missing > 0:
            self._sums = torch.cat([self._sums, self._sums.new_zeros(missing, self._sums.shape[1])])
            self._weights = torch.cat([self._weights, self._weights.new_zeros(missing)])

    def _give(self, behind: int) -> Tensor:
        """Give out the frames up to a number."""
        count = min(max(0, behind - self._first), len(self._weights))
        ready = self._sums[:count] / self._weights[:count, None]
        self._sums, self._weights = self._sums[count:], self._weights[count:]
        self._first += count
        if count:
            self._last = ready[-1:]
        return ready


def _weights(middles: Tensor, piece: Piece) -> Tensor:
    """Weights that fall linearly from the middle of a window to its edges."""
    place = (middles - piece.start) / piece.length
    return (1 - (2 * place - 1).abs()).clamp(min=_LEAST_WEIGHT)


def _between(values: Tensor, places: Tensor) -> Tensor:
    """Values (steps, channels) at places between them; beyond the ends those of the ends."""
    places = places.clamp(0, len(values) - 1)
    low = places.floor().long()
    high = (low + 1).clamp(max=len(values) - 1)
    return values[low].lerp(values[high], (places - low).float()[:, None])
