"""Windows of several requests that a model hears at once: a GPU is faster with many.

On a processor batches of several requests are not faster, so none are made there unless asked for.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Batcher"]

Score = Callable[[Tensor, Tensor | None], Tensor]


class _Asked(NamedTuple):
    """The windows of one request that wait to be heard."""

    features: Tensor
    lengths: Tensor | None
    scores: "Future[Tensor]"

    @property
    def kind(self) -> tuple[object, ...]:
        """What windows have in common that can be heard together."""
        return tuple(self.features.shape[1:]), self.lengths is None


class Batcher:
    """Gathers what several threads ask a model, and asks it once.

    Args:
        score: the model: features (windows, frames, mels) and lengths (windows,) or None to scores
            (windows, classes).
        n_windows: so many windows are heard at once without waiting for more, at least 1.
        wait_s: how long the first of them waits for others.
        told: is given the number of windows of each batch.

    Examples:
        >>> batcher = Batcher(lambda features, _: features.sum((1, 2)), n_windows=8, wait_s=0.01)
        >>> batcher.ask(torch.ones(2, 3, 4), None).result()
        tensor([12., 12.])
        >>> batcher.close()
    """

    def __init__(
        self,
        score: Score,
        *,
        n_windows: int,
        wait_s: float,
        told: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._score, self._n_windows, self._wait_s, self._told = score, n_windows, wait_s, told
        self._asked: SimpleQueue[_Asked | None] = SimpleQueue()  # None is the end
        self._model = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._thread = Thread(target=self._work, name="batch", daemon=True)
        self._thread.start()

    def ask(self, features: Tensor, lengths: Tensor | None) -> "Future[Tensor]":
        """Ask for scores.

        Args:
            features: (windows, frames, mels).
            lengths: (windows,) valid frames of each; None for all.

        Returns:
            The scores (windows, classes), when they are there; or what the model raised.
        """
        asked = _Asked(features, lengths, Future())
        self._asked.put(asked)
        return asked.scores

    def close(self) -> None:
        """Answer what was asked, and end."""
        self._asked.put(None)
        self._thread.join()
        self._model.shutdown()

    def _work(self) -> None:
        """Hear what is asked, until the end."""
        is_open = True
        while is_open:
            gathered, is_open = self._gather()
            kinds: defaultdict[tuple[object, ...], list[_Asked]] = defaultdict(list)
            for asked in gathered:
                if asked.scores.set_running_or_notify_cancel():
                    kinds[asked.kind].append(asked)
            for alike in kinds.values():
                self._hear(alike)

    def _gather(self) -> tuple[list[_Asked], bool]:
        """What is to be heard at once, and whether more may come."""
        first = self._asked.get()
        if first is None:
            return [], False
        gathered, n_gathered = [first], len(first.features)
        deadline = time.monotonic() + self._wait_s
        while n_gathered < self._n_windows:
            left_s = deadline - time.monotonic()
            with suppress(Empty):
                asked = self._asked.get(timeout=max(0.0, left_s))
                if asked is None:
                    return gathered, False
                gathered.append(asked)
                n_gathered += len(asked.features)
                continue
            break
        return gathered, True

    def _hear(self, alike: list[_Asked]) -> None:
        """Hear windows of one kind, at most n_windows of several requests at once."""
        while alike:
            n_taken, n_windows = 1, len(alike[0].features)
            for asked in alike[1:]:
                if n_windows + len(asked.features) > self._n_windows:
                    break
                n_taken, n_windows = n_taken + 1, n_windows + len(asked.features)
            taken, alike = alike[:n_taken], alike[n_taken:]
            self._told(n_windows)
            heard = self._model.submit(self._scores, taken)
            error = heard.exception()  # whatever it is, those who asked are told
            for index, asked in enumerate(taken):
                if error is None:
                    asked.scores.set_result(heard.result()[index])
                else:
                    asked.scores.set_exception(error)

    @torch.inference_mode()
    def _scores(self, taken: list[_Asked]) -> tuple[Tensor, ...]:
        """The scores of each request's windows."""
        features = torch.cat([asked.features for asked in taken])
        lengths = [asked.lengths for asked in taken if asked.lengths is not None]
        scores = self._score(features, torch.cat(lengths) if lengths else None)
        parts: tuple[Tensor, ...] = scores.split([len(asked.features) for asked in taken])
        return parts
