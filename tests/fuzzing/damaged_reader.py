"""Reads damaged files in a process that may crash.

Called as damaged_reader.py SEED FIRST LAST PROGRESS [MODEL].

Every 20th file is tagged, where a model is given. PROGRESS gets a line of JSON for each file before
it is read and another after; what is said of a file that was read is "read", "in part", "refused",
"hang" or "broken", with the traceback.
"""

import io
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from sound_files import mutated

from audiomamba import audio
from audiomamba.audio.pipe import read_pipe
from audiomamba.errors import AudioMambaError

if TYPE_CHECKING:
    from audiomamba import Tagger

LONGEST_S = 20
MOST_SAMPLES = 20_000_000
MOST_BYTES = 6 << 30  # of addresses
EVERY = 20  # of so many files, one is tagged


class HangError(Exception):
    """A file takes too long."""


def _ring(*_: object) -> None:
    raise HangError


def read(data: bytes, number: int, folder: Path, tagger: "Tagger | None") -> str:
    """Decode a file, in one of the ways in which it may be given; returns what came of it."""
    if tagger is not None and number % EVERY == 0:
        tagger.tag(data)
        return "read"
    damages: list[AudioMambaError] = []
    on_damage = damages.append if number % 3 else None
    if number % 7 == 0:
        blocks = read_pipe(io.BytesIO(data), 16_000)
    elif number % 2:
        blocks = audio.stream(data, sample_rate=16_000, on_damage=on_damage)
    else:
        path = folder / "sound"
        path.write_bytes(data)
        blocks = audio.stream(path, sample_rate=16_000, on_damage=on_damage)
    n_samples = 0
    for block in blocks:
        n_samples += len(block)
        if n_samples > MOST_SAMPLES:
            raise OverflowError(f"more than {MOST_SAMPLES} samples")
    return "in part" if damages else "read"


def outcome(data: bytes, number: int, folder: Path, tagger: "Tagger | None") -> tuple[str, str]:
    """Say what comes of a file."""
    signal.alarm(LONGEST_S)
    try:
        what = read(data, number, folder, tagger)
    except AudioMambaError as error:
        said = str(error)
        return ("refused", "") if said and "\n" not in said else ("broken", repr(said))
    except HangError:
        return "hang", traceback.format_exc()
    except Exception:  # noqa: BLE001  # whatever it is, it is to be found
        return "broken", traceback.format_exc()
    finally:
        signal.alarm(0)
    return what, ""


def peak_kib() -> int:
    """The most memory that this process has had; ru_maxrss begins with that of its parent."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    """Read the files."""
    seed, first, last = map(int, sys.argv[1:4])
    tagger = None
    torch.set_num_threads(1)
    if len(sys.argv) > 5:
        import audiomamba

        tagger = audiomamba.load(sys.argv[5])
    signal.signal(signal.SIGALRM, _ring)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    progress = os.open(sys.argv[4], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, last):
            name, data = mutated(seed, number)
            os.write(progress, f'{{"number": {number}, "format": "{name}"}}\n'.encode())
            what, why = outcome(data, number, Path(folder), tagger)
            line = {"number": number, "outcome": what, "why": why, "peak_kib": peak_kib()}
            os.write(progress, (json.dumps(line) + "\n").encode())


if __name__ == "__main__":
    main()
