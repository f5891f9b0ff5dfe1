"""How tests call the command line."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile
from typer.testing import CliRunner, Result

from audiomamba.cli import app

LABELS = ("bell", "dog", "rain")
COMMANDS = (
    "tag",
    "timeline",
    "embed",
    "models",
    "pull",
    "publish",
    "bulk",
    "cache",
    "convert",
    "train",
    "finetune",
    "evaluate",
    "report",
    "serve",
    "watch",
    "segment",
    "detect",
    "segment-sound",
    "train-images",
    "bench",
    "doctor",
)


def noise(seconds: float, rate: int = 16_000) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))


def write(path: Path, samples: np.ndarray, rate: int, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def run(*arguments: object) -> Result:
    """Run a command in this process; what it does not catch is raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def command(*arguments: object) -> list[str]:
    """What runs a command in a process of its own."""
    return [sys.executable, "-m", "audiomamba", *map(str, arguments)]


def interrupt(process: subprocess.Popen[str], when: Callable[[], bool]) -> str:
    """Press Ctrl-C when something has happened; return what is on stderr then."""
    deadline = time.monotonic() + 60
    while not when() and time.monotonic() < deadline:
        time.sleep(0.02)
    for _ in range(4):  # an exception that arises in a destructor is lost, as Python has it
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=20)[1]
    raise TimeoutError("Ctrl-C had no effect")
