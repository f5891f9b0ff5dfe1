"""Many recordings at once: read by threads while the model works, their windows batched together.

Windows of about the same length share a batch, whichever recordings they are from; every recording
is given the scores that it has alone. A recording that fails does not stop the others.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from queue import Empty, Full, Queue
from typing import NamedTuple, TypeVar

import torch

from audiomamba.cores import n_cores
from audiomamba.errors import AudioError, AudioMambaError, MissingDependencyError
from audiomamba.infer.reading import Mode, Reading, TagOptions
from audiomamba.infer.recording import Audio, as_paths
from audiomamba.infer.results import Failed, Scored, Tag, Tagged
from audiomamba.infer.scoring import score_recording
from audiomamba.infer.sound_model import WINDOWS_PER_BATCH, SoundModel
from audiomamba.infer.windows import WindowBatch, WindowMean

__all__ = ["kept_tags", "score_many", "tag_files", "tag_in_order", "tag_unordered"]

N_READERS = 2
READ_AHEAD = 2  # batches of windows of a recording that wait for the model
RECORDINGS_AHEAD = 8  # recordings that are read before their turn
FEW_AHEAD = 4  # where the model uses all cores, from which reading ahead takes its time
MOST_PENDING = 8 * WINDOWS_PER_BATCH  # windows that wait for others of their length
N_BUCKETS = 8  # groups of lengths, so that little of a batch is padding
POLL_S = 0.1

T = TypeVar("T")


def tag_files(
    sound_model: SoundModel,
    files: str | PathLike[str] | Iterable[str | PathLike[str]],
    *,
    top: int | None = None,
    threshold: float = 0.0,
    window_s: float | None = None,
    hop_s: float | None = None,
    mode: Mode = "windows",
) -> Iterator[Tagged | Failed]:
    """Tag recordings: they are read while the model works, and their windows share batches.

    Args:
        sound_model: the model, such as a Tagger.
        files: the recordings, or a single one.
        top: keep at most this many tags of each; None for all.
        threshold: keep only tags that score at least this.
        window_s: as for Tagger.tag.
        hop_s: as for Tagger.tag.
        mode: as for Tagger.tag; recordings that are read natively take turns.

    Returns:
        One result per recording, in their order.

    Raises:
        ConfigError: a length is out of its range, or the model cannot read natively.
        UnknownNameError: there is no such mode.

    Examples:
        >>> import audiomamba
        >>> tagger = audiomamba.load("general")
        >>> files = [Path("my-clips/dog/1.wav"), Path("missing.wav")]
        >>> [type(result).__name__ for result in tag_files(tagger, files, top=3)]
        ['Tagged', 'Failed']
    """
    options = TagOptions(top=top, threshold=threshold, window_s=window_s, hop_s=hop_s, mode=mode)
    sound_model.check(options)
    return tag_in_order(sound_model, as_paths(files), options)


def tag_in_order(
    sound_model: SoundModel, files: Sequence[Path], options: TagOptions
) -> Iterator[Tagged | Failed]:
    """Tag recordings as tag_files does.

    Args:
        sound_model: the model.
        files: the recordings.
        options: how they are read, and which tags are kept.

    Yields:
        One result per recording, in their order.

    Raises:
        ConfigError: as for Tagger.tag.
    """
    early: dict[int, Tagged | Failed] = {}
    n_given = 0
    for index, result in tag_unordered(sound_model, files, options):
        early[index] = result
        while n_given in early:
            yield early.pop(n_given)
            n_given += 1


def tag_unordered(
    sound_model: SoundModel, files: Iterable[Path], options: TagOptions
) -> Iterator[tuple[int, Tagged | Failed]]:
    """Tag recordings as tag_files does, and give every result as soon as it is ready.

    Args:
        sound_model: the model.
        files: the recordings; few are held at a time.
        options: how they are read, and which tags are kept.

    Yields:
        The index of a recording among the files, and its result.

    Raises:
        ConfigError: as for Tagger.tag.
    """
    sound_model.check(options)
    many = _score_one_by_one if options.mode == "native" else score_many
    in_work: dict[int, Path] = {}

    def noted() -> Iterator[Path]:
        for index, file in enumerate(files):
            in_work[index] = file
            yield file

    for index, found in many(sound_model, noted(), options):
        file = in_work.pop(index)
        if isinstance(found, Scored):
            tags = kept_tags(sound_model.ranked(found.scores), options)
            yield index, Tagged(file, found.seconds, tags, found.note, found.damage)
        else:
            yield index, Failed(file, found)


def kept_tags(tags: Sequence[Tag], options: TagOptions) -> list[Tag]:
    """Choose the tags that are shown.

    Args:
        tags: the highest score first.
        options: which are kept.

    Returns:
        Those that are kept, in the same order.
    """
    return [tag for tag in tags[: options.top] if tag.score >= options.threshold]


def _score_one_by_one(
    sound_model: SoundModel, files: Iterable[Path], reading: Reading
) -> Iterator[tuple[int, Scored | AudioMambaError]]:
    """Score recordings one after the other."""
    for index, file in enumerate(files):
        damages: list[AudioError] = []
        try:
            found = score_recording(sound_model, file, reading, on_damage=damages.append)
            yield index, replace(found, damage=next(iter(damages), None))
        except (AudioError, MissingDependencyError) as error:
            yield index, error


def score_many(
    sound_model: SoundModel, recordings: Iterable[Audio], reading: Reading | None = None
) -> Iterator[tuple[int, Scored | AudioMambaError]]:
    """Score recordings window by window, each as score_recording does.

    Args:
        sound_model: the model.
        recordings: each as for Tagger.tag.
        reading: the windows' length and hop; None for the defaults.

    Yields:
        The index of a recording, and its scores or why there are none: one result for each, in the
        order in which they get ready.

    Raises:
        ConfigError: a length is out of its range.
    """
    reading = reading or Reading()
    scoring = _Scoring(sound_model, *sound_model.window_and_hop(reading))
    reader = _Reader(sound_model, recordings, reading)
    try:
        for read in reader:
            yield from scoring.take(read)
        yield from scoring.finish()
    finally:
        reader.close()


class _End(NamedTuple):
    """A recording is read; there may be damage, beside which it was."""

    damage: AudioError | None


class _Read(NamedTuple):
    """What was read of a recording: windows, its end, or why it cannot be read."""

    recording_index: int
    content: WindowBatch | AudioMambaError | _End


class _Reader(Iterator[_Read]):
    """Threads that read recordings ahead, a little of a few at a time.

    What they read comes in the order of the recordings, however fast each is read, so that the same
    recordings make the same batches in every call.
    """

    def __init__(
        self, sound_model: SoundModel, recordings: Iterable[Audio], reading: Reading
    ) -> None:
        self._sound_model, self._reading = sound_model, reading
        self._recordings = enumerate(recordings)
        self._next_recording = threading.Lock()
        has_spare_core = torch.get_num_threads() < n_cores()
        self._ahead: Queue[Queue[_Read]] = Queue(RECORDINGS_AHEAD if has_spare_core else FEW_AHEAD)
        self._current: Queue[_Read] | None = None
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(N_READERS, thread_name_prefix="read")
        self._threads = [self._pool.submit(self._read_all) for _ in range(N_READERS)]

    def __next__(self) -> _Read:
        while self._current is None:
            self._current = self._begun()
        read = self._get(self._current)
        if not isinstance(read.content, WindowBatch):
            self._current = None
        return read

    def close(self) -> None:
        """Let the threads end."""
        self._stop.set()
        self._pool.shutdown()

    def _begun(self) -> "Queue[_Read] | None":
        """The next recording that is being read; None where it has to be waited for."""
        is_over = all(thread.done() for thread in self._threads)
        with suppress(Empty):
            return self._ahead.get(timeout=0 if is_over else POLL_S)
        if is_over:
            self._raise_unexpected()
            raise StopIteration
        return None

    def _get(self, line: "Queue[_Read]") -> _Read:
        """What comes next of a recording."""
        while True:
            with suppress(Empty):
                return line.get(timeout=POLL_S)
            self._raise_unexpected()

    def _raise_unexpected(self) -> None:
        """Raise what a reader did not expect."""
        for thread in self._threads:
            if thread.done():
                thread.result()

    def _read_all(self) -> None:
        """Read one recording after the other, until there are no more."""
        while not self._stop.is_set():
            line: Queue[_Read] = Queue(READ_AHEAD)
            with self._next_recording:
                index, recording = next(self._recordings, (-1, None))
                if recording is None or not self._put(self._ahead, line):
                    return
            self._read(index, recording, line)

    def _read(self, index: int, recording: Audio, line: "Queue[_Read]") -> None:
        """Read one recording, unless nobody wants it any more."""
        damages: list[AudioError] = []
        windows = self._sound_model.windows(recording, self._reading, on_damage=damages.append)
        try:
            for batch in windows:
                if not self._put(line, _Read(index, batch)):
                    return
        except (AudioError, MissingDependencyError) as error:
            self._put(line, _Read(index, error))
        else:
            self._put(line, _Read(index, _End(next(iter(damages), None))))

    def _put(self, line: "Queue[T]", item: T) -> bool:
        """Wait for room in a queue; False if nobody wants what was read any more."""
        while not self._stop.is_set():
            with suppress(Full):
                line.put(item, timeout=POLL_S)
                return True
        return False


class _Window(NamedTuple):
    """A window that waits for others of about its length."""

    recording_index: int
    batch: WindowBatch
    row: int


class _Recording:
    """Scores of a recording's windows, which may come in any order."""

    def __init__(self, hop: int) -> None:
        self.n_pending = 0
        self.is_read = False
        self.damage: AudioError | None = None
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

    def __init__(self, sound_model: SoundModel, n_samples: int, hop: int) -> None:
        self._sound_model, self._n_samples, self._hop = sound_model, n_samples, hop
        self._recordings: dict[int, _Recording] = {}
        self._buckets: defaultdict[int, list[_Window]] = defaultdict(list)

    def take(self, read: _Read) -> Iterator[tuple[int, Scored | AudioMambaError]]:
        """Take what was read; yields what got ready by that."""
        index, content = read
        if isinstance(content, AudioMambaError):
            self._recordings.pop(index, None)
            yield index, content
            return
        recording = self._recordings.setdefault(index, _Recording(self._hop))
        if isinstance(content, _End):
            recording.is_read, recording.damage = True, content.damage
            yield from self._ready([index])
            return
        recording.n_pending += len(content.lengths)
        for row, length in enumerate(content.lengths.tolist()):
            self._buckets[self._bucket(length)].append(_Window(index, content, row))
        yield from self._work(MOST_PENDING)

    def finish(self) -> Iterator[tuple[int, Scored | AudioMambaError]]:
        """Yield what is left, when all is read."""
        yield from self._work(0)

    def _bucket(self, length: int) -> int:
        """Which windows a window may share a batch with."""
        if self._sound_model.mixes_lengths:
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
        windows = [window for window in windows if window.recording_index in self._recordings]
        if not windows:
            return
        starts = torch.stack([window.batch.starts[window.row] for window in windows])
        lengths = torch.stack([window.batch.lengths[window.row] for window in windows])
        n_samples = max(int(lengths.max()), self._sound_model.front_end.window_samples)
        samples = torch.stack(  # without the zeros that follow all of them
            [window.batch.samples[window.row, :n_samples] for window in windows]
        )
        scores = self._sound_model.score_windows(WindowBatch(samples, starts, lengths))
        for window, start, length, found in zip(
            windows, starts.tolist(), lengths.tolist(), scores, strict=True
        ):
            self._recordings[window.recording_index].add(start, length, found)
        yield from self._ready(dict.fromkeys(window.recording_index for window in windows))

    def _ready(self, indices: Iterable[int]) -> Iterator[tuple[int, Scored | AudioMambaError]]:
        """Yield the recordings among these that are complete."""
        rate = self._sound_model.front_end.sample_rate
        for index in indices:
            recording = self._recordings[index]
            if recording.is_read and not recording.n_pending:
                del self._recordings[index]
                mean = recording.mean
                seconds, window_s = mean.n_samples / rate, self._n_samples / rate
                yield index, Scored(mean.result(), seconds, window_s, recording.damage)
