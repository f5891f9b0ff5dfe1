"""A tagger that reads no more than is allowed, and stops when it is told to."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import BinaryIO

from torch import Tensor

from audiomamba import audio
from audiomamba.audio.blocks import OnDamage
from audiomamba.infer import Tagger
from audiomamba.infer.recording import Audio
from audiomamba.serve.batching import Batcher
from audiomamba.serve.refusal import RefusedError
from audiomamba.serve.settings import Settings

__all__ = ["BoundedTagger", "Stop", "check_recording"]

POLL_S = 0.1


class Stop:
    """Says when work is no longer wanted: its time is over, or its client has left.

    Args:
        time_limit_s: seconds from now on.

    Examples:
        >>> stop = Stop(10.0)
        >>> stop.check()
        >>> stop.set()
        >>> stop.check()
        Traceback (most recent call last):
            ...
        audiomamba.serve.refusal.RefusedError: the client has left
    """

    def __init__(self, time_limit_s: float) -> None:
        self._event = threading.Event()
        self._deadline = time.monotonic() + time_limit_s

    def set(self) -> None:
        """Stop the work at its next block of sound."""
        self._event.set()

    def check(self) -> None:
        """Raise RefusedError if the work is no longer wanted."""
        if self._event.is_set():
            raise RefusedError.left()
        if time.monotonic() > self._deadline:
            raise too_late()


def too_late() -> RefusedError:
    """Return the refusal of a request whose time is over."""
    message = "the recording takes longer than a request may; send a shorter one"
    return RefusedError(HTTPStatus.GATEWAY_TIMEOUT, "time", message)


class BoundedTagger(Tagger):
    """A tagger for one request: it shares the model, and what it reads is bounded.

    Args:
        tagger: the model.
        settings: what is allowed.
        stop: says when the work is no longer wanted.
        batcher: hears windows together with those of other requests; None to hear them alone.
    """

    def __init__(
        self, tagger: Tagger, settings: Settings, stop: Stop, batcher: Batcher | None = None
    ) -> None:
        vars(self).update(vars(tagger))
        self._settings, self._stop, self._batcher = settings, stop, batcher

    def score_features(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score the model's input, as SoundModel.score_features does."""
        if self._batcher is None:
            return super().score_features(features, lengths)
        asked = self._batcher.ask(features, lengths)
        while True:
            with suppress(TimeoutError):
                return asked.result(POLL_S)
            try:
                self._stop.check()
            except RefusedError:
                asked.cancel()
                raise

    def blocks(self, recording: Audio, *, on_damage: OnDamage | None = None) -> Iterator[Tensor]:
        """Read a recording block by block, as SoundModel.blocks does; RefusedError ends it."""
        n_samples, rate = 0, self.front_end.sample_rate
        for block in super().blocks(recording, on_damage=on_damage):
            self._stop.check()
            n_samples += len(block)
            _check_seconds(n_samples / rate, self._settings)
            yield block


def check_recording(file: BinaryIO, settings: Settings, stop: Stop) -> None:
    """Refuse a recording that is not allowed, before a model hears any of it.

    Where the file does not say how long it is, it is decoded for that, and nothing is kept.

    Args:
        file: seekable.
        settings: what is allowed.
        stop: says when the work is no longer wanted.

    Raises:
        RefusedError: it is too long, or has too many channels or too high a rate.
        AudioError: it cannot be read.
        MissingDependencyError: it needs PyAV, and that is not installed.
    """
    blocks = audio.stream(file)
    if blocks.sample_rate > settings.max_rate_hz or blocks.n_channels > settings.max_channels:
        raise RefusedError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "sound",
            f"the recording has {blocks.n_channels} channels at {blocks.sample_rate} Hz; expected "
            f"at most {settings.max_channels} at {settings.max_rate_hz} Hz",
        )
    if blocks.declared_s is not None:
        _check_seconds(blocks.declared_s, settings)
        blocks.close()
        return
    n_samples = 0
    for block in blocks:
        stop.check()
        n_samples += len(block)
        _check_seconds(n_samples / blocks.sample_rate, settings)


def _check_seconds(seconds: float, settings: Settings) -> None:
    if seconds > settings.max_seconds:
        raise RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "seconds",
            f"the recording is too long; expected at most {settings.max_seconds:g} s of sound",
        )
