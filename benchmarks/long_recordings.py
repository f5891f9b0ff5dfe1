"""Measure time and peak memory of `audiomamba tag` on recordings of a minute, an hour, ten hours.

    python benchmarks/long_recordings.py CLIPS --out benchmarks/results/long_recordings.jsonl

The recordings are made by looping the clips of a folder, block by block, as FLAC in a temporary
folder. Every call has a process of its own; its time includes the start of Python and the loading
of the model, and its memory all that the process held.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
import torch

from audiomamba import audio
from audiomamba.bench.machine import describe

BLOCK = 1 << 16
KIB_PER_MIB = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", type=Path, help="a folder of recordings")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 60, 600])
    parser.add_argument("--model", default="general")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="where the results go, a line of JSON each")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    clips = audio.find([asked.clips])
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in asked.minutes:
            recording = Path(folder, f"{minutes:g}min.flac")
            write_loop(clips, recording, 60 * minutes)
            results.append(measure(recording, asked.model, asked.threads))
            print(json.dumps(results[-1]), flush=True)
            recording.unlink()
    if asked.out is not None:
        asked.out.write_text("".join(json.dumps(result) + "\n" for result in results))


def write_loop(clips: list[Path], recording: Path, seconds: float) -> None:
    """One clip after the other, over and over."""
    first = audio.stream(clips[0])
    rate_hz = first.sample_rate
    first.close()
    n_left = round(seconds * rate_hz)
    with soundfile.SoundFile(recording, "w", rate_hz, 1, "PCM_16") as file:
        for block in blocks_of(clips, rate_hz):
            file.write(block[:n_left])
            n_left -= len(block[:n_left])
            if not n_left:
                return


def blocks_of(clips: list[Path], rate_hz: int) -> Iterator[np.ndarray]:
    for clip in cycle(clips):
        for block in audio.stream(clip, sample_rate=rate_hz):
            yield np.clip(block.numpy(), -1, 1)


def measure(recording: Path, model: str, threads: int) -> dict[str, object]:
    """Tag a recording in a process of its own."""
    command = ["tag", recording, "--model", model, "--threads", threads, "--json"]
    began_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "audiomamba", *map(str, command)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    row = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began_s
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise SystemExit(f"{recording} could not be tagged")
    return {
        "seconds": row["seconds"],
        "model": model,
        "wall_s": round(wall_s, 2),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "real_time_factor": round(wall_s / row["seconds"], 6),
        "peak_mib": round(used.ru_maxrss / KIB_PER_MIB, 1),
        "tags": row["tags"],
        **describe("cpu"),
    }


if __name__ == "__main__":
    main()
