"""Many recordings at once: read by threads while the model works, their windows batched together.

Windows of about the same length share a batch, whichever recordings they are from; every recording
is given the scores that it has alone.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import NamedTuple

import torch

from audiomamba.errors import AudioError, AudioMambaError, MissingDependencyError
from audiomamba.infer.tagger import WINDOWS_PER_BATCH, Audio, Scored, Tagger
from audiomamba.infer.windows import WindowBatch, WindowMean

__all__ = ["score_many"]

N_READERS = 2
READ_AHEAD = 2  # batches of windows that wait for the model
MOST_PENDING = 8 * WINDOWS_PER_BATCH  # windows that wait for others of their length
N_BUCKETS = 8  # lengths that are told apart, so that little of a batch is padding
POLL_S = 0.1


class _Read(NamedTuple):
    """What a reader has to say of a recording: windows, its end, or why it cannot be read."""

    place: int
    content: WindowBatch | AudioMambaError | None


def score_many(
    tagger: Tagger,
    files: Iterable[Audio],
    *,
    window_s: float | None = None,
    hop_s: float | None = None,
) -> Iterator[tuple[int, Scored | AudioMambaError]]:
    """Score recordings window by window, each as Tagger.score does.

    Args:
        tagger: the model.
        files: the recordings, each as for Tagger.tag.
        window_s: as for Tagger.tag.
        hop_s: as for Tagger.tag.

    Yields:
        The place of a recording among the files, from 0, and its scores or why there are none: one
        result for each, in the order in which they get ready.

    Raises:
        ConfigError: a length is out of its range.
    """
    n_samples, hop = tagger.window_samples(window_s, hop_s)
    scoring = _Scoring(tagger, n_samples, hop)
    reading = _Reading(tagger, files, window_s, hop_s)
    try:
        for read in reading:
            yield from scoring.take(read)
        yield from scoring.finish()
    finally:
        reading.close()


class _Reading(Iterator[_Read]):
    """Threads that read recordings; what they read comes by a queue that holds little."""

    def __init__(
        self, tagger: Tagger, files: Iterable[Audio], window_s: float | None, hop_s: float | None
    ) -> None:
        self._tagger, self._lengths = tagger, (window_s, hop_s)
        self._files = enumerate(files)
        self._next_file = threading.Lock()
        self._queue: Queue[_Read | None] = Queue(READ_AHEAD)  # None is a reader's end
        self._n_reading = N_READERS
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(N_READERS, thread_name_prefix="read")
        self._readers = [self._pool.submit(self._read_files) for _ in range(N_READERS)]

    def __next__(self) -> _Read:
        while self._n_reading:
            with suppress(Empty):
                read = self._queue.get(timeout=POLL_S)
                if read is not None:
                    return read
                self._n_reading -= 1
        for reader in self._readers:
            reader.result()  # raises what a reader did not expect
        raise StopIteration

    def close(self) -> None:
        """Let the threads end."""
        self._stop.set()
        self._pool.shutdown()

    def _read_files(self) -> None:
        """Read one recording after the other, until there are no more."""
        try:
            while not self._stop.is_set():
                with self._next_file:
                    place, file = next(self._files, (-1, None))
                if file is None:
                    return
                self._read_file(place, file)
        finally:
            self._put(None)

    def _read_file(self, place: int, file: Audio) -> None:
        """Read one recording, unless nobody wants it any more."""
        window_s, hop_s = self._lengths
        try:
            for batch in self._tagger.windows(file, window_s=window_s, hop_s=hop_s):
                self._put(_Read(place, batch))
                if self._stop.is_set():
                    return
        except (AudioError, MissingDependencyError) as error:
            self._put(_Read(place, error))
        else:
            self._put(_Read(place, None))

    def _put(self, read: _Read | None) -> None:
        """Wait for room in the queue, unless nobody wants what was read any more."""
        while not self._stop.is_set():
            with suppress(Full):
                self._queue.put(read, timeout=POLL_S)
                return


class _Window(NamedTuple):
    """A window that waits for others of about its length."""

    place: int
    batch: WindowBatch
    row: int


class _Recording:
    """Scores of a recording's windows, which may come in any order."""

    def __init__(self, hop: int) -> None:
        self.n_pending = 0
        self.is_read = False
        self.mean = WindowMean()
        self._hop, self._next = hop, 0
        self._early: dict[int, tuple[int, torch.Tensor]] = {}

    def add(self, start: int, length: int, scores: torch.Tensor) -> None:
        """Take the scores of one window."""
        self.n_pending -= 1
        self._early[start] = length, scores
        while self._next in self._early:
            self.mean.add(self._next, *self._early.pop(self._next))
            self._next += self._hop


class _Scoring:
    """Batches windows of about the same length, whichever recording they are from."""

    def __init__(self, tagger: Tagger, n_samples: int, hop: int) -> None:
        self._tagger, self._n_samples, self._hop = tagger, n_samples, hop
        self._recordings: dict[int, _Recording] = {}
        self._buckets: defaultdict[int, list[_Window]] = defaultdict(list)

    def take(self, read: _Read) -> Iterator[tuple[int, Scored | AudioMambaError]]:
        """Take what was read; yields what got ready by that."""
        place, content = read
        if isinstance(content, AudioMambaError):
            self._recordings.pop(place, None)
            yield place, content
            return
        recording = self._recordings.setdefault(place, _Recording(self._hop))
        if content is None:
            recording.is_read = True
            yield from self._ready([place])
            return
        recording.n_pending += len(content.lengths)
        for row, length in enumerate(content.lengths.tolist()):
            self._buckets[self._bucket(length)].append(_Window(place, content, row))
        yield from self._work(MOST_PENDING)

    def finish(self) -> Iterator[tuple[int, Scored | AudioMambaError]]:
        """Yield what is left, when all is read."""
        yield from self._work(0)

    def _bucket(self, length: int) -> int:
        """Which windows a window may share a batch with."""
        if self._tagger.mixes_lengths:
            return length * N_BUCKETS // self._n_samples
        return length

    def _work(self, n_allowed: int) -> Iterator[tuple[int, Scored | AudioMambaError]]:
        """Score full batches, and others while more windows wait than are allowed."""
        while self._buckets:
            windows = max(self._buckets.values(), key=len)
            n_waiting = sum(map(len, self._buckets.values()))
            if len(windows) < WINDOWS_PER_BATCH and n_waiting <= n_allowed:
                return
            taken = windows[:WINDOWS_PER_BATCH]
            del windows[:WINDOWS_PER_BATCH]
            self._buckets = defaultdict(list, {k: v for k, v in self._buckets.items() if v})
            yield from self._score(taken)

    def _score(self, windows: Sequence[_Window]) -> Iterator[tuple[int, Scored | AudioMambaError]]:
        """Score windows as one batch; yields the recordings that are complete by that."""
        windows = [window for window in windows if window.place in self._recordings]
        if not windows:
            return
        samples = torch.stack([window.batch.samples[window.row] for window in windows])
        starts = torch.stack([window.batch.starts[window.row] for window in windows])
        lengths = torch.stack([window.batch.lengths[window.row] for window in windows])
        scores = self._tagger.score_windows(WindowBatch(samples, starts, lengths))
        for window, start, length, found in zip(
            windows, starts.tolist(), lengths.tolist(), scores, strict=True
        ):
            self._recordings[window.place].add(start, length, found)
        yield from self._ready(dict.fromkeys(window.place for window in windows))

    def _ready(self, places: Iterable[int]) -> Iterator[tuple[int, Scored | AudioMambaError]]:
        """Yield the recordings among these that are complete."""
        rate = self._tagger.front_end.sample_rate
        for place in places:
            recording = self._recordings[place]
            if recording.is_read and not recording.n_pending:
                del self._recordings[place]
                mean = recording.mean
                yield place, Scored(mean.result(), mean.n_samples / rate, self._n_samples / rate)
