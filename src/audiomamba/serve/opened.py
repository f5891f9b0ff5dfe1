"""The recordings that the page has open: analyzed once, then drawn from, until they are closed."""

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiomamba.errors import AudioMambaError
from audiomamba.infer import EventRule, Framing, RecordingEvents, Tagger
from audiomamba.infer.events import EventFinder, in_order
from audiomamba.infer.frame_scores import score_frames
from audiomamba.infer.framing import STEP_S
from audiomamba.serve.bounded import BoundedTagger, Stop, check_recording
from audiomamba.serve.drawing import PeakFile, SpectrogramFile
from audiomamba.serve.gate import Spool
from audiomamba.serve.received import Received
from audiomamba.serve.refusal import RefusedError
from audiomamba.serve.settings import Settings

__all__ = ["Opened", "OpenedRecordings"]

ROWS_AT_ONCE = 4096
KEPT_S = 1800.0  # without a question from the page
MOST_OPEN = 100
_Scores = NDArray[np.float32]


class Opened:
    """One recording with its scores, its peaks and its spectrogram, in files without names.

    Args:
        tagger: the model.
        settings: what is allowed.
        quota: where the bytes that are kept are counted.
    """

    def __init__(self, tagger: Tagger, settings: Settings, quota: Spool) -> None:
        self.name = secrets.token_urlsafe(18)  # nobody can guess it
        self.tagger, self._settings, self._quota = tagger, settings, quota
        self.step_s = STEP_S
        self.seconds = 0.0
        self.error = ""
        self.is_complete = False
        self.used_s = time.monotonic()
        self.spectrogram = SpectrogramFile(tagger.front_end.sample_rate)
        self.peaks = PeakFile(tagger.front_end.sample_rate)
        self.highest = np.zeros(len(tagger.labels), np.float32)  # of each label
        self._scores = TemporaryFile()  # noqa: SIM115  # closed by close
        self._stop = Stop(settings.max_seconds)
        self._n_bytes = 0
        self._lock = threading.Lock()  # the files have one position each

    def analyze(self, received: Received) -> None:
        """Hear the whole recording; what goes wrong is kept as the error.

        Args:
            received: the recording; it is closed.
        """
        try:
            with self._lock:
                self._hear(received)
            self.is_complete = True
        except (AudioMambaError, RefusedError) as error:
            self.error = " ".join(str(error).split())
        finally:
            received.close()

    def events(self, rule: EventRule) -> RecordingEvents:
        """Find events.

        Args:
            rule: how scores become events.

        Returns:
            The events, as for the recording itself.
        """
        finder = EventFinder(self.tagger.labels, self.step_s, rule)
        with self._lock:
            blocks = (torch.from_numpy(block) for block in self._blocks())
            events = [event for block in blocks for event in finder.add(block)]
        events = in_order(events + finder.finish(self.seconds))
        return RecordingEvents(Path("audio data"), self.seconds, self.step_s, events)

    def lanes(self, labels: Sequence[str], n_bins: int) -> _Scores:
        """Give the highest scores of some labels in equal parts of the recording.

        Args:
            labels: their names.
            n_bins: parts; fewer where the recording has fewer frames.

        Returns:
            (labels, parts).

        Raises:
            RefusedError: the model does not show a label.
        """
        known = {label: index for index, label in enumerate(self.tagger.labels)}
        if not set(labels) <= known.keys():
            message = "a label is asked for that the model does not show; see /v1/models"
            raise RefusedError(HTTPStatus.NOT_FOUND, "label", message)
        chosen = [known[label] for label in labels]
        with self._lock:
            rows = [block[:, chosen] for block in self._blocks()]
        scores = np.concatenate(rows)
        n_bins = min(n_bins, len(scores))
        starts = np.arange(n_bins) * len(scores) // n_bins
        return np.maximum.reduceat(scores, starts, axis=0).T

    def tile(self, level: int, index: int) -> bytes | None:
        """Draw a tile, as SpectrogramFile.tile does."""
        with self._lock:
            return self.spectrogram.tile(level, index)

    def waveform(self) -> bytes:
        """Give all peaks, as PeakFile.read does."""
        with self._lock:
            return self.peaks.read()

    def stop(self) -> None:
        """Stop the analysis at its next block of sound."""
        self._stop.set()

    def close(self) -> None:
        """Stop the analysis and delete the files."""
        self.stop()
        with self._lock:
            self._scores.close()
            self.spectrogram.close()
            self.peaks.close()
            self._quota.give_back(self._n_bytes)
            self._n_bytes = 0

    def _hear(self, received: Received) -> None:
        check_recording(received.file, self._settings, self._stop)
        tagger = BoundedTagger(self.tagger, self._settings, self._stop)
        rate = tagger.front_end.sample_rate

        def listen(samples: Tensor) -> None:
            self.peaks.add(samples)
            self.spectrogram.add(samples)
            self.seconds += len(samples) / rate

        frames = score_frames(tagger, received.file, Framing(step_s=self.step_s), listener=listen)
        for block in frames:
            if len(block):
                self._keep(block.numpy())
        self.seconds = frames.seconds
        self.peaks.finish()
        self.spectrogram.finish()
        self._count()

    def _keep(self, block: _Scores) -> None:
        """Write scores (frames, labels)."""
        self.highest = np.maximum(self.highest, block.max(axis=0))
        self._scores.write(block.astype(np.float32).tobytes())
        self._count()

    def _count(self) -> None:
        """Count what the files have grown by."""
        n_bytes = self._scores.tell() + self.peaks.n_bytes + self.spectrogram.n_bytes
        self._quota.take(n_bytes - self._n_bytes)
        self._n_bytes = n_bytes

    def _blocks(self) -> Iterator[_Scores]:
        """All scores, (frames, labels) at a time."""
        n_labels = len(self.tagger.labels)
        self._scores.seek(0)
        while data := self._scores.read(ROWS_AT_ONCE * n_labels * 4):
            yield np.frombuffer(data, np.float32).reshape(-1, n_labels)


class OpenedRecordings:
    """All recordings that pages have open.

    Args:
        settings: what is allowed.
        quota: where the bytes that are kept are counted.
    """

    def __init__(self, settings: Settings, quota: Spool) -> None:
        self._settings, self._quota = settings, quota
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="open")  # the others stay free
        self._opened: dict[str, Opened] = {}

    def open(self, tagger: Tagger, received: Received) -> Opened:
        """Begin to analyze a recording.

        Args:
            tagger: the model.
            received: the recording.

        Returns:
            What is there of the analysis so far.

        Raises:
            RefusedError: too many are open.
        """
        self.forget(KEPT_S)
        n_waiting = sum(not (it.is_complete or it.error) for it in self._opened.values())
        if n_waiting > self._settings.n_queued or len(self._opened) >= MOST_OPEN:
            received.close()
            raise RefusedError.busy("open", "too many recordings are open; try again", 10)
        opened = Opened(tagger, self._settings, self._quota)
        self._opened[opened.name] = opened
        self._pool.submit(opened.analyze, received)
        return opened

    def get(self, name: str) -> Opened:
        """Look up a recording.

        Args:
            name: as open named it.

        Returns:
            The recording.

        Raises:
            RefusedError: it is not open.
        """
        found = self._opened.get(name)
        if found is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "recording", "this recording is not open")
        found.used_s = time.monotonic()
        return found

    def close(self, name: str) -> None:
        """Forget a recording.

        Args:
            name: as open named it.

        Raises:
            RefusedError: it is not open.
        """
        self.get(name)
        threading.Thread(target=self._opened.pop(name).close).start()  # it waits for the analysis

    def forget(self, unused_s: float) -> None:
        """Forget the recordings that nobody asks for any more.

        Args:
            unused_s: seconds since they were last asked for.
        """
        latest_s = time.monotonic() - unused_s
        for name in [name for name, it in self._opened.items() if it.used_s < latest_s]:
            self.close(name)

    def end(self) -> None:
        """Forget all recordings, and stop what is being analyzed."""
        for opened in self._opened.values():
            opened.stop()
        self._pool.shutdown(cancel_futures=True)
        for opened in self._opened.values():
            opened.close()
