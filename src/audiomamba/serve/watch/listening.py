"""A microphone, from its sound to events, so that ending the process by force costs no event."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from audiomamba.errors import AudioError
from audiomamba.infer import Event, EventRule, Framing, Reading, SoundModel
from audiomamba.infer.events import EventFinder
from audiomamba.infer.frame_scores import score_frames_live
from audiomamba.infer.frame_stream import FrameStream
from audiomamba.infer.framing import STEP_S
from audiomamba.infer.live import live_reading
from audiomamba.serve.watch.clips import AROUND_S, LONGEST_S, Clips
from audiomamba.serve.watch.events_file import EventsFile, Row
from audiomamba.serve.watch.sound_tail import Certain, SoundTail

__all__ = ["Listener", "event_row"]

RECENT_S = 2 * LONGEST_S  # of sound that clips are cut from
MARGIN_S = 3.0  # more than the median filter and joining of events look back


def event_row(event: Event, began_s: float, source: str) -> Row:
    """Make the line of an event.

    Args:
        event: the event.
        began_s: when its recording began, in seconds since 1970.
        source: the recording's name.

    Returns:
        Time, source, label, start_s, end_s and score.

    Examples:
        >>> row = event_row(Event("Dog", 1.5, 2.0, 0.9), 1_700_000_000.0, "a.wav")
        >>> row["time"], row["label"]
        ('2023-11-14T22:13:21.500Z', 'Dog')
    """
    moment_ms = round(1000 * (began_s + event.start_s))
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment_ms // 1000))
    found = event.to_dict()
    return {"time": f"{whole}.{moment_ms % 1000:03}Z", "source": source, **found}


class _Recent:
    """The last seconds of sound, for clips."""

    def __init__(self, sample_rate: int, first: int = 0) -> None:
        self._rate, self._end = sample_rate, first
        self._blocks: deque[Tensor] = deque()
        self._n_held = 0

    def add(self, samples: Tensor) -> None:
        self._blocks.append(samples)
        self._end += len(samples)
        self._n_held += len(samples)
        while self._n_held - len(self._blocks[0]) > RECENT_S * self._rate:
            self._n_held -= len(self._blocks.popleft())

    def cut(self, start_s: float, end_s: float) -> Tensor:
        """What is still there of a part of time; never longer than a clip may be."""
        first = self._end - self._n_held
        start = max(0, round((start_s - AROUND_S) * self._rate) - first)
        end = round((end_s + AROUND_S) * self._rate) - first
        held = torch.cat(list(self._blocks)) if self._blocks else torch.zeros(0)
        return held[start : max(start, min(end, start + round(LONGEST_S * self._rate)))]


@dataclass
class Listener:
    """Turns sound into lines of events.

    Args:
        sound_model: the model.
        reading: the windows.
        rule: how scores become events.
        events: where the lines go.
        tail: where the last seconds are kept on the disk.
        clips: where the sound of events is kept; None for nowhere.
        tell: is given every line that was written.
    """

    sound_model: SoundModel
    reading: Reading
    rule: EventRule
    events: EventsFile
    tail: SoundTail
    clips: Clips | None
    tell: Callable[[Row], object]

    def listen(self, blocks: Iterator[Tensor], source: str) -> None:
        """Listen until the sound ends.

        Args:
            blocks: (samples,) at the model's rate, as they come.
            source: the name of what is listened to.
        """
        rate = self.sound_model.front_end.sample_rate
        certain = Certain(
            began_s=time.time(), sample_rate=rate, source=source, offset=self.events.size
        )
        self.tail.begin(certain)
        recent = _Recent(rate)

        def kept() -> Iterator[Tensor]:
            for block in blocks:
                self.tail.add(block)
                recent.add(block)
                yield block

        try:
            finder, frames = self._finder(kept())
            for block in frames:
                self._write(finder.add(block), certain, recent)
                going_on = tuple(event.to_dict() for event in finder.going_on())
                certain = replace(certain, settled_s=finder.settled_s, going_on=going_on)
                self.tail.settle(certain)
            self._write(finder.finish(frames.seconds), certain, recent)
        except AudioError:
            self.tail.leave()  # the next call writes what is not written yet
            raise
        self.tail.delete()

    def recover(self) -> int:
        """Write the events that a process which was ended by force had heard, but not written.

        Returns:
            How many these are.
        """
        left = self.tail.left_over()
        if left is None or left[0].sample_rate != self.sound_model.front_end.sample_rate:
            self.tail.delete()
            return 0
        certain, first, samples = left
        rate = certain.sample_rate
        n_window, hop = self.sound_model.window_and_hop(self._live())
        wanted = round((certain.settled_s - MARGIN_S) * rate) - n_window
        begin = max(0, wanted // hop * hop)  # where a window began then, too
        if begin < first:
            begin = -(-first // hop) * hop
        recent = _Recent(rate, first)
        recent.add(samples)
        replayed = samples[begin - first :]
        found: list[Event] = []
        peaks: dict[str, float] = {}
        if len(replayed):
            found, peaks = self._replayed(replayed, begin / rate, certain.settled_s)
        labels = self.sound_model.labels
        shortest = dict(zip(labels, self.rule.of("shortest_s", labels), strict=True))
        merged = [
            event
            for event in _merged(found, peaks, certain)
            if event.end_s - event.start_s >= shortest[event.label] - 1e-6
        ]
        new = self._not_written(merged, certain)
        self._write(new, certain, recent)
        self.tail.delete()
        return len(new)

    def _replayed(
        self, samples: Tensor, begin_s: float, settled_s: float
    ) -> tuple[list[Event], dict[str, float]]:
        """The events in samples from begin_s on, and how high those were that went on at settled_s.

        The first frames are left out: there, windows are missing that began before.
        """
        finder, frames = self._finder(iter([samples]))
        start_s = begin_s
        if begin_s > 0:
            start_s += max(0, round((settled_s - MARGIN_S - begin_s) / STEP_S)) * STEP_S
        scores = torch.cat(list(frames))[round((start_s - begin_s) / STEP_S) :]
        found: list[Event] = []
        peaks: dict[str, float] = {}
        for frame in scores.split(1):
            found += finder.add(frame)
            if finder.settled_s + start_s <= settled_s + STEP_S / 2:
                peaks = {event.label: event.score for event in finder.going_on()}
        found += finder.finish(frames.seconds - (start_s - begin_s))
        return [_shifted(event, start_s) for event in found], peaks

    def _live(self) -> Reading:
        return live_reading(self.sound_model, self.reading)

    def _finder(self, blocks: Iterator[Tensor]) -> tuple[EventFinder, FrameStream]:
        """What finds events in blocks of sound, and the frames that it is to be given."""
        reading = self._live()
        framing = Framing(window_s=reading.window_s, hop_s=reading.hop_s)
        finder = EventFinder(self.sound_model.labels, framing.step_s, self.rule)
        return finder, score_frames_live(self.sound_model, blocks, framing)

    def _write(self, found: list[Event], certain: Certain, recent: _Recent) -> None:
        """Keep the clips of events, then write their lines, then tell of them."""
        rows = []
        for event in found:
            row = event_row(event, certain.began_s, certain.source)
            if self.clips is not None:
                samples = recent.cut(event.start_s, event.end_s)
                if len(samples):
                    moment_s = certain.began_s + event.start_s
                    rate = certain.sample_rate
                    row["clip"] = self.clips.keep(event.label, moment_s, samples, rate)
            rows.append(row)
        if rows:
            self.events.append(rows)
        for row in rows:
            self.tell(row)

    def _not_written(self, found: list[Event], certain: Certain) -> list[Event]:
        """The events of which no line overlaps, in the lines of the same stream."""
        written: dict[str, list[Row]] = {}
        for row in self.events.since(certain.offset):
            if row.get("source") == certain.source:
                written.setdefault(row.get("label", ""), []).append(row)
        return [
            event
            for event in found
            if not any(
                row["start_s"] < event.end_s and event.start_s < row["end_s"]
                for row in written.get(event.label, ())
            )
        ]


def _shifted(event: Event, by_s: float) -> Event:
    start_s, end_s = round(event.start_s + by_s, 6), round(event.end_s + by_s, 6)
    return Event(event.label, start_s, end_s, event.score)


def _merged(found: list[Event], peaks: dict[str, float], certain: Certain) -> list[Event]:
    """Events after what was certain; of those that went on there, what was certain stays.

    Their scores before it, peaks, are not to be trusted where the first frames took part.
    """
    going_on = {row["label"]: row for row in certain.going_on}
    merged = []
    for event in sorted(found, key=lambda event: event.start_s):
        row = going_on.get(event.label)
        if row is not None and event.end_s >= row["end_s"] and event.start_s <= row["end_s"] + 1:
            del going_on[event.label]
            later = event.score if event.score > peaks.get(event.label, 0.0) else 0.0
            score = max(row["score"], later)
            merged.append(Event(event.label, row["start_s"], event.end_s, score))
        elif event.end_s > certain.settled_s:
            merged.append(event)
    ended = [Event(**row) for row in going_on.values()]
    return sorted([*merged, *ended], key=lambda event: event.end_s)
