"""A process that decodes recordings for another one, which outlives what they may do to it.

It ends when the one that started it ends, and when a recording takes too long: then the system's
alarm ends it, wherever it is stuck.
"""

import os
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import BinaryIO

from audiomamba import audio
from audiomamba.bulk.sources import Recording
from audiomamba.errors import AudioError, MissingDependencyError
from audiomamba.storage import RangedFile, is_remote, open_ranged

__all__ = ["END", "FAILED", "UNREACHABLE", "decode_after_fork", "decode_all"]

END, FAILED, UNREACHABLE = "end", "failed", "unreachable"


def decode_all(calls: Connection, limit_s: float) -> None:
    """Decode one recording after the other, until the other side hangs up.

    For each Recording that comes, with the rate to decode to, its blocks go out as bytes of
    float32, then empty bytes, then a pair: what it ended with (END, FAILED, or UNREACHABLE where
    its storage gave no answer), and the reason.

    Args:
        calls: the line to the other process.
        limit_s: seconds that one recording may take.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process says when to end
    with suppress(EOFError, OSError):  # it is gone
        while True:
            recording, rate_hz = calls.recv()
            _set_alarm(limit_s)
            outcome = _decode(calls, recording, rate_hz)
            _set_alarm(0)
            calls.send_bytes(b"")
            calls.send(outcome)


def decode_after_fork(calls: Connection, limit_s: float) -> None:
    """Do as decode_all, in a process that has got all that its parent had open.

    Args:
        calls: as for decode_all.
        limit_s: as for decode_all.
    """
    kept, most = calls.fileno(), os.sysconf("SC_OPEN_MAX")
    os.closerange(3, kept)  # or who waits for the parent's end on a pipe would wait for this one's
    os.closerange(kept + 1, most)
    decode_all(calls, limit_s)


def _set_alarm(seconds: float) -> None:
    """Let the system end this process after so many seconds; 0 for never."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _decode(calls: Connection, recording: Recording, rate_hz: int) -> tuple[str, str]:
    """Send a recording's blocks; returns what it ended with."""
    try:
        file = _open(recording)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        return FAILED, f"{recording.name}: {(error.strerror or 'no such file').lower()}"
    except OSError as error:
        return _unreadable(recording, error)
    with file:
        try:
            for block in audio.stream(file, sample_rate=rate_hz):
                calls.send_bytes(block.numpy().tobytes())
        except (AudioError, MissingDependencyError) as error:
            lost = _lost(file)
            return (FAILED, str(error)) if lost is None else _unreadable(recording, lost)
        lost = _lost(file)
    return (END, "") if lost is None else _unreadable(recording, lost)


def _open(recording: Recording) -> BinaryIO:
    """Open a recording, as long as it is the one that was planned for."""
    size = recording.size if recording.member else None
    file = open_ranged(recording.file, start=recording.start, size=size)
    raw = getattr(file, "raw", None)
    if isinstance(raw, RangedFile):
        raw.name = recording.name
    return file


def _lost(file: BinaryIO) -> OSError | None:
    """An error in reading that a library below has swallowed."""
    raw = getattr(file, "raw", None)
    return raw.error if isinstance(raw, RangedFile) else None


def _unreadable(recording: Recording, error: OSError) -> tuple[str, str]:
    """A local file that cannot be read has failed; remote storage may answer later."""
    reason = " ".join((error.strerror or str(error)).lower().split())
    kind = UNREACHABLE if is_remote(recording.file) else FAILED
    return kind, f"{recording.name}: {reason}"
