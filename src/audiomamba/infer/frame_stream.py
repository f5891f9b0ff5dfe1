"""Frames of a recording with a fixed step, merged from what a model says of its windows."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from audiomamba.infer.windows import WindowBatch

__all__ = ["FrameMerger", "FrameStream", "WindowSteps"]

_LEAST_WEIGHT = 1e-3  # of a frame at the very edge of a window


@dataclass(frozen=True, slots=True)
class WindowSteps:
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
        self._first = 0  # index of the first of them
        self._last = torch.zeros(0, n_channels)
        self._n_samples = 0

    def add(self, window: WindowSteps) -> Tensor:
        """Take the next window.

        Args:
            window: it begins where the last one began or later.

        Returns:
            (frames, channels), the next frames that are complete: those before the window.
        """
        ready = self._give(self._frames_before(window.start))
        end = window.start + window.length
        self._n_samples = max(self._n_samples, end)
        first = max(self._first, self._frames_before(window.start))
        after = self._frames_before(end)  # index of the first frame after the window
        if after > first:
            self._reserve(after - self._first)
            middles = (torch.arange(first, after, dtype=torch.float64) + 0.5) * self._step
            weights = _weights(middles, window).float()
            values = _between(
                window.values.float().cpu(), (middles - window.start) / window.step - 0.5
            )
            covered = slice(first - self._first, after - self._first)
            self._sums[covered] += weights[:, None] * values
            self._weights[covered] += weights
        elif not after:  # shorter than half a frame: it is all that there is so far
            self._last = window.values[:1].float().cpu()
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

    def _give(self, after: int) -> Tensor:
        """Give out the frames before an index."""
        count = min(max(0, after - self._first), len(self._weights))
        ready = self._sums[:count] / self._weights[:count, None]
        self._sums, self._weights = self._sums[count:], self._weights[count:]
        self._first += count
        if count:
            self._last = ready[-1:]
        return ready


class FrameStream(Iterator[Tensor]):
    """The frames of a recording, block by block, as soon as they are complete.

    Args:
        batches: the windows of the recording.
        score: gives what the model says of the windows of a batch, in their order.
        step: samples from one frame to the next.
        sample_rate: of the windows, in Hz.
    """

    def __init__(
        self,
        batches: Iterator[WindowBatch],
        score: Callable[[WindowBatch], list[WindowSteps]],
        *,
        step: float,
        sample_rate: int,
    ) -> None:
        self._n_samples, self._rate = 0, sample_rate
        self._blocks = self._merge(batches, score, step)

    def __next__(self) -> Tensor:
        return next(self._blocks)

    @property
    def seconds(self) -> float:
        """Length of what was read of the recording so far."""
        return self._n_samples / self._rate

    def _merge(
        self,
        batches: Iterator[WindowBatch],
        score: Callable[[WindowBatch], list[WindowSteps]],
        step: float,
    ) -> Iterator[Tensor]:
        merger: FrameMerger | None = None
        for batch in batches:
            self._n_samples = int((batch.starts + batch.lengths).max())
            windows = score(batch)
            merger = merger or FrameMerger(step, windows[0].values.shape[1])
            for window in windows:
                yield merger.add(window)
        if merger is not None:
            yield merger.finish()


def _weights(middles: Tensor, window: WindowSteps) -> Tensor:
    """Weights that fall linearly from the middle of a window to its edges."""
    position = (middles - window.start) / window.length  # 0 to 1
    return (1 - (2 * position - 1).abs()).clamp(min=_LEAST_WEIGHT)


def _between(values: Tensor, positions: Tensor) -> Tensor:
    """Values (steps, channels) at positions between steps; beyond the ends those of the ends."""
    positions = positions.clamp(0, len(values) - 1)
    low = positions.floor().long()
    high = (low + 1).clamp(max=len(values) - 1)
    return values[low].lerp(values[high], (positions - low).float()[:, None])
