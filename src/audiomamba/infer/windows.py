"""Recordings of any length as windows of equal length, and their results as one."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["WindowBatch", "WindowMean", "cut"]

Samples = NDArray[np.float32]


class WindowBatch(NamedTuple):
    """Some of a recording's windows.

    Args:
        samples: (windows, samples); a window that reaches beyond the recording ends with zeros.
        starts: (windows,) int64, where they begin in the recording, in samples.
        lengths: (windows,) int64, how many samples of each are the recording's, at least 1.
    """

    samples: Tensor
    starts: Tensor
    lengths: Tensor


def cut(
    blocks: Iterable[Tensor], n_samples: int, hop: int, *, batch_size: int
) -> Iterator[WindowBatch]:
    """Cut a recording that comes in blocks into windows, so that every sample is in one at least.

    Windows begin every hop samples. The last one is the first that reaches the recording's end; it
    alone may reach beyond. What is held at once does not grow with the recording.

    Args:
        blocks: the recording, (samples,) each, of any lengths.
        n_samples: length of a window.
        hop: samples from one window's start to the next's, 1 to n_samples.
        batch_size: windows in a batch, at least 1.

    Yields:
        The windows in order, batch_size of them in every batch but the last ones: a last window
        that is not full comes in a batch of its own. Nothing of an empty recording.
    """
    span, step = n_samples + (batch_size - 1) * hop, batch_size * hop
    pending: list[Samples] = []
    n_pending = start = 0
    for block in blocks:
        pending.append(block.numpy())
        n_pending += len(block)
        if n_pending < span:
            continue
        held = _joined(pending)
        n_done = 0
        while n_pending - n_done >= span:
            yield _full(held[n_done : n_done + span], n_samples, hop, start + n_done)
            n_done += step
        pending = [held[n_done:]]
        n_pending, start = n_pending - n_done, start + n_done
    if n_pending:
        yield from _rest(_joined(pending), n_samples, hop, start)


def _joined(blocks: list[Samples]) -> Samples:
    """The blocks as one; NumPy starts no threads for this, as PyTorch would in every reader."""
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _rest(held: Samples, n_samples: int, hop: int, start: int) -> Iterator[WindowBatch]:
    """The windows of a recording's end, whose first sample is a window's start."""
    n_full = max(0, (len(held) - n_samples) // hop + 1)
    if n_full:
        span = n_samples + (n_full - 1) * hop
        yield _full(held[:span], n_samples, hop, start)
    n_covered = n_samples - hop + n_full * hop if n_full or start else 0
    if len(held) > n_covered:
        samples = np.zeros((1, n_samples), dtype=np.float32)
        length = len(held) - n_full * hop
        samples[0, :length] = held[n_full * hop :]
        starts, lengths = torch.tensor([start + n_full * hop]), torch.tensor([length])
        yield WindowBatch(torch.from_numpy(samples), starts, lengths)


def _full(held: Samples, n_samples: int, hop: int, start: int) -> WindowBatch:
    """Full windows that fill what is held."""
    samples = torch.from_numpy(held).unfold(0, n_samples, hop)
    n_windows = len(samples)
    starts = start + hop * torch.arange(n_windows)
    return WindowBatch(samples, starts, torch.full((n_windows,), n_samples))


class WindowMean:
    """The mean over a recording of what its windows say, each of its samples counting alike.

    Where windows overlap, a sample counts with the mean of the windows that it is in. Memory does
    not grow with the number of windows.
    """

    def __init__(self) -> None:
        self.n_samples = 0  # of the recording, so far
        self._n_done = 0
        self._open: deque[tuple[int, Tensor]] = deque()  # windows' ends and values, the first first
        self._total: Tensor | float = 0.0

    def add(self, start: int, length: int, values: Tensor) -> None:
        """Take the next window.

        Args:
            start: where it begins, in samples; not before the last one.
            length: how many samples of the recording it holds.
            values: (values,), what it says.
        """
        self._count_until(start)
        self._open.append((start + length, values.double()))
        self.n_samples = max(self.n_samples, start + length)

    def add_batch(self, batch: WindowBatch, values: Tensor) -> None:
        """Take the next windows.

        Args:
            batch: windows of one recording, in order.
            values: (windows, values), what they say.
        """
        for start, length, row in zip(
            batch.starts.tolist(), batch.lengths.tolist(), values, strict=True
        ):
            self.add(start, length, row)

    def result(self) -> Tensor:
        """Return the mean of all windows, at least one.

        Returns:
            (values,) float32.
        """
        self._count_until(self.n_samples)
        mean = torch.as_tensor(self._total) / self.n_samples
        return mean.float()

    def _count_until(self, end: int) -> None:
        """Count the samples before end, which no later window holds."""
        while self._n_done < end and self._open:
            until = min(end, self._open[0][0])
            values = torch.stack([values for _, values in self._open]).mean(0)
            self._total = self._total + values * (until - self._n_done)
            self._n_done = until
            while self._open and self._open[0][0] <= until:
                self._open.popleft()
