"""A few workers, a short queue, and a refusal when that is full.

A worker is a thread: the model's work holds no lock of Python's for long. On a processor, batching
the requests of several clients does not make them faster, so each is worked on alone.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from audiomamba.serve.bounded import Stop, too_late
from audiomamba.serve.metrics import Metrics
from audiomamba.serve.refusal import RefusedError
from audiomamba.serve.settings import Settings

__all__ = ["WorkQueue"]

Result = TypeVar("Result")
LONGEST_RETRY_S = 60


class WorkQueue:
    """Workers for requests.

    Args:
        settings: how many workers there are, how many requests may wait, how long one may take.
        metrics: where waiting and work are counted.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._pool = ThreadPoolExecutor(settings.n_workers, thread_name_prefix="work")
        self._n_open = self._n_at_work = 0
        self._mean_s = 1.0  # of the work on a request, the latest counting most

    def check_room(self) -> None:
        """Refuse a request that would find no room.

        Raises:
            RefusedError: all workers are busy and the queue is full.
        """
        n_workers, n_queued = self._settings.n_workers, self._settings.n_queued
        if self._n_open >= n_workers + n_queued:
            expected_s = math.ceil(self._mean_s * self._n_open / n_workers)
            retry_after_s = max(1, min(LONGEST_RETRY_S, expected_s))
            message = f"all workers are busy and {n_queued} requests wait; try again"
            raise RefusedError.busy("queue", message, retry_after_s)

    async def run(
        self,
        work: Callable[[Stop], Result],
        *,
        left: Callable[[], Awaitable[object]],
        finish: Callable[[], object],
    ) -> Result:
        """Work on a request as soon as a worker is free.

        Args:
            work: what to do, in a thread.
            left: waits until the client leaves, which stops the work.
            finish: what to do when the thread no longer works on it, also if it never did.

        Returns:
            What the work returns; what it raises is raised.

        Raises:
            RefusedError: there is no room, the time is over, or the client has left.
        """
        try:
            self.check_room()
        except RefusedError:
            finish()
            raise
        loop = asyncio.get_running_loop()
        stop = Stop(self._settings.time_limit_s)
        self._count(n_open=1)
        future = self._pool.submit(self._work, loop, work, stop, time.monotonic())
        future.add_done_callback(lambda done: self._end(loop, done, finish))
        result, leaving = asyncio.wrap_future(future), asyncio.ensure_future(left())
        waited: set[asyncio.Future[Any]] = {result, leaving}
        try:
            await asyncio.wait(
                waited, timeout=self._settings.time_limit_s, return_when=asyncio.FIRST_COMPLETED
            )
            if result.done():
                return result.result()
            raise RefusedError.left() if leaving.done() else too_late()
        finally:
            stop.set()
            result.cancel()
            leaving.cancel()

    def close(self) -> None:
        """End the workers."""
        self._pool.shutdown(cancel_futures=True)

    def _work(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Callable[[Stop], Result],
        stop: Stop,
        queued_s: float,
    ) -> Result:
        """Work in a thread."""
        began_s = time.monotonic()
        self._metrics.step("wait", began_s - queued_s)
        loop.call_soon_threadsafe(self._count_worker, 1)
        try:
            return work(stop)
        finally:
            took_s = time.monotonic() - began_s
            self._metrics.step("work", took_s)
            with suppress(RuntimeError):  # the loop may be closed
                loop.call_soon_threadsafe(self._took, took_s)

    def _end(
        self,
        loop: asyncio.AbstractEventLoop,
        done: "Future[Any]",
        finish: Callable[[], object],
    ) -> None:
        """Called when the thread is done with a request, or will never begin it."""
        del done
        finish()
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._count, -1)

    def _count(self, n_open: int) -> None:
        self._n_open += n_open
        self._metrics.waiting.set(max(0, self._n_open - self._n_at_work))

    def _count_worker(self, change: int) -> None:
        self._n_at_work += change
        self._metrics.at_work.set(self._n_at_work)
        self._count(0)

    def _took(self, seconds: float) -> None:
        self._mean_s += 0.2 * (seconds - self._mean_s)
        self._count_worker(-1)
