"""Recordings decoded by processes of their own, each once, in order.

A recording that ends its process, by a crash or by the time limit, is tried once more; then it has
failed. All others go on, and so does this process.
"""

import multiprocessing
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import torch
from torch import Tensor

from audiomamba.bulk.decoder import END, FAILED, UNREACHABLE, decode_after_fork, decode_all
from audiomamba.bulk.sources import Recording
from audiomamba.errors import AudioError, ConfigError

__all__ = ["Decoded", "Decoders"]

N_TRIES = 2  # of a recording that ends its process
N_STORAGE_TRIES, STORAGE_PAUSE_S = 4, 2.0
GRACE_S = 5.0  # that the system's own alarm may be late
HELD_S = 120.0  # seconds of sound that are kept in memory; more go to a temporary file
BLOCK_BYTES = 1 << 20  # a multiple of a sample's

_SAFE = "forkserver" if sys.platform != "win32" else "spawn"  # beside threads
TRIED = f"tried {N_TRIES} times"


class Decoded:
    """A recording's samples, in memory or in a temporary file that has no name.

    Args:
        rate_hz: their rate.
        most_bytes: of the temporary file.

    Examples:
        >>> decoded = Decoded(16_000, most_bytes=0)
        >>> decoded.add(torch.zeros(8_000).numpy().tobytes())
        >>> decoded.seconds, sum(len(block) for block in decoded.blocks())
        (0.5, 8000)
    """

    def __init__(self, rate_hz: int, most_bytes: int) -> None:
        self.n_samples, self._rate_hz, self._most_bytes = 0, rate_hz, most_bytes
        self._held: list[bytes] = []
        self._file: IO[bytes] | None = None

    @property
    def seconds(self) -> float:
        """How long the recording is."""
        return self.n_samples / self._rate_hz

    def add(self, block: bytes) -> None:
        """Take the next samples.

        Args:
            block: float32.

        Raises:
            AudioError: there are more than the temporary file may hold.
            OSError: the file cannot be written.
        """
        self.n_samples += len(block) // 4
        if self._file is None and self.seconds > HELD_S:
            self._file = TemporaryFile(prefix="audiomamba-")  # noqa: SIM115  # lives as long as this
            self._file.writelines(self._held)
            self._held = []
        if self._file is None:
            self._held.append(block)
            return
        if 4 * self.n_samples > self._most_bytes:
            raise AudioError(
                f"decoded it takes more than the {self._most_bytes / 1e9:g} GB of --spool"
            )
        self._file.write(block)

    def blocks(self) -> Iterator[Tensor]:
        """Give the samples from the first on.

        Yields:
            (samples,) float32.
        """
        if self._file is None:
            data = bytearray(b"".join(self._held))
            if data:
                yield torch.frombuffer(data, dtype=torch.float32)
            return
        self._file.seek(0)
        while data := bytearray(self._file.read(BLOCK_BYTES)):
            yield torch.from_numpy(np.frombuffer(data, dtype=np.float32))


class _Process:
    """One decoding process, started anew whenever it has ended."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._start(may_fork=sys.platform == "linux")

    def _start(self, *, may_fork: bool) -> None:
        """Start it: forked while this process has no threads yet, which takes no time."""
        context = multiprocessing.get_context("fork" if may_fork else _SAFE)
        if _SAFE == "forkserver":
            context.set_forkserver_preload([decode_all.__module__])
        target = decode_after_fork if may_fork else decode_all
        self._line, far = context.Pipe()
        self._process = context.Process(target=target, args=(far, self._limit_s), daemon=True)  # type: ignore[attr-defined]
        self._process.start()
        far.close()

    def decode(self, recording: Recording, rate_hz: int, decoded: Decoded) -> tuple[str, str]:
        """Decode a recording; returns what it ended with."""
        try:
            self._line.send((recording, rate_hz))
            while block := self._receive(self._line):
                decoded.add(block)
            outcome: tuple[str, str] = self._line.recv()
            return outcome
        except AudioError as error:
            self._restart()
            return FAILED, f"{recording.name}: {error}"
        except TimeoutError:
            self._restart()
            return "", self._too_long()
        except (EOFError, ConnectionError):
            code = self._restart()
            too_long = code == -getattr(signal, "SIGALRM", 0)
            return "", self._too_long() if too_long else f"ended the process ({_in_words(code)})"

    def _receive(self, line: Connection) -> bytes:
        """The next block; empty after the last."""
        if not line.poll(self._limit_s + GRACE_S):
            raise TimeoutError
        return line.recv_bytes()

    def _too_long(self) -> str:
        return f"decoding took longer than {self._limit_s:g} s"

    def _restart(self) -> int:
        """End the process and start another; returns how it had ended."""
        code = self.close()
        self._start(may_fork=False)
        return code

    def close(self) -> int:
        """End the process; returns how it had ended."""
        self._line.close()
        self._process.kill()  # which changes nothing about one that has ended already
        self._process.join()
        return int(self._process.exitcode or 0)


class Decoders:
    """Processes that decode recordings ahead of the one who asks for them; used as a context.

    They are made before this process has any threads.

    Args:
        n: how many, at least 1.
        limit_s: seconds that one recording may take.
        spool_bytes: of a temporary file, for recordings too long to be held in memory.
    """

    def __init__(self, n: int, limit_s: float, spool_bytes: int) -> None:
        self._spool = spool_bytes
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        for _ in range(n):
            self._idle.put(_Process(limit_s))
        self._threads = ThreadPoolExecutor(n, thread_name_prefix="decode")

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        while not self._idle.empty():
            self._idle.get().close()

    def decode(
        self, recordings: Iterable[Recording | str], rate_hz: int, n_ahead: int
    ) -> Iterator[Decoded | str]:
        """Decode recordings, some of them ahead.

        Args:
            recordings: the recordings; for one that is known to fail, the reason.
            rate_hz: rate to decode to.
            n_ahead: how many are decoded before they are asked for, at most.

        Yields:
            The samples of each, in order, or in one line why there are none.

        Raises:
            ConfigError: storage did not answer in several tries, or temporary files cannot be
                written.
        """
        waiting: deque[Future[Decoded | str]] = deque()
        for one in recordings:
            waiting.append(self._threads.submit(self._decode, one, rate_hz))
            if len(waiting) > n_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _decode(self, recording: Recording | str, rate_hz: int) -> Decoded | str:
        """Decode one recording by whichever process is idle."""
        if isinstance(recording, str):
            return recording
        process, reason = self._idle.get(), ""
        n_lost = n_unreachable = 0
        try:
            while n_lost < N_TRIES:
                decoded = Decoded(rate_hz, self._spool)
                outcome, reason = process.decode(recording, rate_hz, decoded)
                if outcome == END:
                    return decoded
                if outcome == FAILED:
                    return " ".join(reason.split())
                if outcome == UNREACHABLE:
                    n_unreachable += 1
                    if n_unreachable == N_STORAGE_TRIES:
                        raise ConfigError(f"{reason}; the same call goes on when it can be read")
                    time.sleep(STORAGE_PAUSE_S * n_unreachable)
                else:
                    n_lost += 1
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ConfigError(f"temporary files cannot be written: {reason}") from error
        finally:
            self._idle.put(process)
        return f"{recording.name}: {reason}, {TRIED}"


def _in_words(code: int) -> str:
    """How a process has ended."""
    with suppress(ValueError):
        return f"by {signal.Signals(-code).name}"
    return f"with exit code {code}"
