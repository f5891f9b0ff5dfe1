"""From frame scores to events: what is heard from when to when.

Scores are smoothed by a median filter. An event of a class begins where its score reaches the
threshold, and goes on while the score stays at a share of it (hysteresis). Events of a class with a
short gap between them are joined; what is then too short is dropped.

Everything is done block by block, so that a recording of any length takes the same memory, and the
events of a block are those of the whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audiomamba.errors import ConfigError, UnknownNameError
from audiomamba.infer.results import Event

__all__ = ["EventFinder", "EventRule", "PerClass", "find_events", "in_order"]

PerClass = float | Mapping[str, float]

_BLOCK_FRAMES = 256  # frames that are filtered at once; bounds the memory of the median filter
_Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class EventRule:
    """How frame scores become events; the defaults suit the model that ships.

    Each setting but `stay` is one number for all classes, or numbers by label; a label that is not
    named has the default.

    Args:
        threshold: the score at which an event begins, above 0, at most 1.
        stay: the share of the threshold that suffices for an event to go on, above 0, at most 1.
        median_s: length of the median filter in seconds, at least 0; it is rounded to an odd number
            of frames.
        shortest_s: shorter events are dropped, in seconds, at least 0.
        gap_s: events of a class that are at most this far apart are joined, in seconds, at least 0.

    Raises:
        ConfigError: a setting is out of its range.

    Examples:
        >>> rule = EventRule(threshold={"dog": 0.5}, median_s=0.0)
        >>> rule.of("threshold", ["dog", "rain"])
        [0.5, 0.3]
    """

    threshold: PerClass = 0.3
    stay: float = 0.7
    median_s: PerClass = 0.9
    shortest_s: PerClass = 0.2
    gap_s: PerClass = 0.2

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            share = field.name in ("threshold", "stay")
            for value in given.values() if isinstance(given, Mapping) else [given]:
                if not (0 < value <= 1 if share else 0 <= value < float("inf")):
                    limits = "above 0, at most 1" if share else "at least 0"
                    raise ConfigError(f"{field.name} is {value}; expected a number {limits}")

    def of(self, name: str, labels: Sequence[str]) -> list[float]:
        """Look up a setting for every class.

        Args:
            name: the setting, one that may differ among classes.
            labels: the classes.

        Returns:
            One number per class.

        Raises:
            UnknownNameError: the setting names a class that does not exist.
        """
        given = getattr(self, name)
        if not isinstance(given, Mapping):
            return [float(given)] * len(labels)
        for label in given:
            if label not in labels:
                raise UnknownNameError(f"label in {name}", label, labels)
        default = next(field.default for field in fields(self) if field.name == name)
        return [float(given.get(label, default)) for label in labels]


@dataclass(slots=True)
class _Run:
    """Frames in which a class is heard: the first, the one after the last, the highest score."""

    start: int
    end: int
    peak: float


class EventFinder:
    """Finds the events in frame scores that come block by block.

    Args:
        labels: the classes, in the order of the scores.
        step_s: seconds from one frame to the next, above 0.
        rule: how scores become events.

    Raises:
        ConfigError: step_s is out of its range.
        UnknownNameError: the rule names a class that does not exist.
    """

    def __init__(self, labels: Sequence[str], step_s: float, rule: EventRule) -> None:
        if not step_s > 0:
            raise ConfigError(f"step_s is {step_s}; expected more than 0")
        self._labels, self._step_s = tuple(labels), step_s
        self._median = _MedianFilter(self._in_frames("median_s", rule) // 2)
        self._shortest = self._in_frames("shortest_s", rule)
        self._gap = self._in_frames("gap_s", rule)
        self._begin = np.array(rule.of("threshold", labels), dtype=np.float32)
        self._stay = self._begin * np.float32(rule.stay)
        self._on = np.zeros(len(self._labels), dtype=bool)
        self._runs: dict[int, _Run] = {}
        self._n_tracked = 0

    def add(self, scores: Tensor) -> list[Event]:
        """Take the next frames.

        Args:
            scores: (frames, classes), from 0 to 1.

        Returns:
            The events that became certain, in the order of their ends.

        Raises:
            ConfigError: the scores are of another number of classes.
        """
        if scores.ndim != 2 or scores.shape[1] != len(self._labels):
            raise ConfigError(
                f"scores have shape {tuple(scores.shape)}; expected (frames, {len(self._labels)})"
            )
        found: list[Event] = []
        for block in scores.float().cpu().split(_BLOCK_FRAMES):
            found += self._track(self._median.add(block.numpy()))
        return found

    def finish(self, seconds: float | None = None) -> list[Event]:
        """Take the end of the recording.

        Args:
            seconds: its length, at which events end at the latest; None for that of the frames.

        Returns:
            The events that became certain by it, in the order of their ends.
        """
        found = self._track(self._median.finish())
        found += self._closed(list(self._runs))
        if seconds is None:
            return found
        return [
            Event(one.label, one.start_s, min(one.end_s, seconds), one.score)
            for one in found
            if one.start_s < seconds
        ]

    @property
    def settled_s(self) -> float:
        """Up to here, in seconds, nothing is heard that add did not return or that goes on."""
        return round(self._n_tracked * self._step_s, 6)

    def going_on(self) -> list[Event]:
        """List the events that may still go on, as far as they are known.

        Returns:
            They may be too short to become events.
        """
        return [
            Event(
                self._labels[index],
                round(run.start * self._step_s, 6),
                round(run.end * self._step_s, 6),
                run.peak,
            )
            for index, run in self._runs.items()
        ]

    def _in_frames(self, name: str, rule: EventRule) -> NDArray[np.int64]:
        """A setting in seconds as frames, for every class."""
        seconds = np.array(rule.of(name, self._labels))
        return np.round(seconds / self._step_s).astype(np.int64)

    def _track(self, scores: _Floats) -> list[Event]:
        """Follow the classes through smoothed scores (frames, classes)."""
        if not len(scores):
            return []
        active = self._is_active(scores)
        first, found = self._n_tracked, []
        self._n_tracked += len(scores)
        for index in np.flatnonzero(active.any(axis=0)).tolist():
            edges = np.flatnonzero(np.diff(active[:, index], prepend=False, append=False))
            for start, end in edges.reshape(-1, 2).tolist():
                peak = float(scores[start:end, index].max())
                found += self._lengthen(index, _Run(first + start, first + end, peak))
        over = [
            index
            for index, run in self._runs.items()
            if self._n_tracked - run.end > self._gap[index]
        ]
        found += self._closed(over)
        return sorted(found, key=lambda event: event.end_s)

    def _is_active(self, scores: _Floats) -> NDArray[np.bool_]:
        """Whether each class is heard, (frames, classes): the last clear decision stays."""
        begins, clear = scores >= self._begin, scores < self._stay
        frames = np.arange(len(scores))[:, None]
        latest = np.maximum.accumulate(np.where(begins | clear, frames, -1), axis=0)
        decided = np.take_along_axis(begins, latest.clip(min=0), axis=0)
        active = np.where(latest >= 0, decided, self._on)
        self._on = active[-1]
        return active

    def _lengthen(self, index: int, run: _Run) -> list[Event]:
        """Join a run to the last one of its class, or make it the last one."""
        last = self._runs.get(index)
        if last is not None and run.start - last.end <= self._gap[index]:
            last.end, last.peak = run.end, max(last.peak, run.peak)
            return []
        found = self._closed([index]) if last is not None else []
        self._runs[index] = run
        return found

    def _closed(self, indices: Iterable[int]) -> list[Event]:
        """Take out the last runs of classes; those that are long enough are events."""
        found = []
        for index in indices:
            run = self._runs.pop(index)
            if run.end - run.start >= self._shortest[index]:
                start_s, end_s = (round(n * self._step_s, 6) for n in (run.start, run.end))
                found.append(Event(self._labels[index], start_s, end_s, run.peak))
        return sorted(found, key=lambda event: event.end_s)


class _MedianFilter:
    """A median over 2 * half + 1 frames, each class its own; the ends are repeated outwards."""

    def __init__(self, halves: NDArray[np.int64]) -> None:
        self._halves = halves
        self._most = int(halves.max(initial=0))
        self._waiting: _Floats | None = None  # what is before and after the next frame

    def add(self, scores: _Floats) -> _Floats:
        """The next frames in, the frames that are complete out; (frames, classes) both."""
        if not len(scores):
            return scores
        if self._waiting is None:
            self._waiting = np.repeat(scores[:1], self._most, axis=0)
        waiting = np.concatenate([self._waiting, scores])
        self._waiting = waiting[max(0, len(waiting) - 2 * self._most) :]
        return self._filtered(waiting)

    def finish(self) -> _Floats:
        """The frames that waited for others after them."""
        if self._waiting is None or not self._most:
            return np.empty((0, len(self._halves)), dtype=np.float32)
        ends = np.repeat(self._waiting[-1:], self._most, axis=0)
        return self._filtered(np.concatenate([self._waiting, ends]))

    def _filtered(self, waiting: _Floats) -> _Floats:
        """Medians of all frames but the first and last few."""
        n_frames = max(0, len(waiting) - 2 * self._most)
        filtered = waiting[self._most : self._most + n_frames].copy()
        for half in np.unique(self._halves[self._halves > 0]).tolist() if n_frames else []:
            chosen = self._halves == half
            around = waiting[self._most - half : self._most + n_frames + half, chosen]
            windows = np.lib.stride_tricks.sliding_window_view(around, 2 * half + 1, axis=0)
            filtered[:, chosen] = np.partition(windows, half, axis=-1)[..., half]
        return filtered


def find_events(
    scores: Tensor,
    labels: Sequence[str],
    step_s: float,
    rule: EventRule | None = None,
    *,
    seconds: float | None = None,
) -> list[Event]:
    """Find the events in the frame scores of a whole recording.

    Args:
        scores: (frames, classes), from 0 to 1.
        labels: the classes, in the order of the scores.
        step_s: seconds from one frame to the next, above 0.
        rule: how scores become events; None for the defaults.
        seconds: length of the recording; None for that of the frames.

    Returns:
        The events in the order of their starts.

    Raises:
        ConfigError: scores or step_s are not what they should be.
        UnknownNameError: the rule names a class that does not exist.

    Examples:
        >>> import torch
        >>> scores = torch.tensor([[0.1], [0.8], [0.9], [0.1]])
        >>> find_events(scores, ["dog"], 0.5, EventRule(median_s=0.0))
        [Event(label='dog', start_s=0.5, end_s=1.5, score=0.899999...)]
    """
    finder = EventFinder(labels, step_s, rule or EventRule())
    return in_order(finder.add(scores) + finder.finish(seconds))


def in_order(events: Iterable[Event]) -> list[Event]:
    """Sort events by start, then end, then label.

    Args:
        events: in any order.

    Returns:
        The same events.
    """
    return sorted(events, key=lambda event: (event.start_s, event.end_s, event.label))
