"""Measure one pass over a long recording: time and peak memory, with and without stretches.

    python benchmarks/native.py --out benchmarks/results/native.jsonl

Three sides score the same noise with the same random weights: `windows` of 10.24 s in batches of 8,
`stretches` reads all in one pass as `tag --mode native` does, `whole` does the same with all that
is expanded in memory at once. Features and model count; the recording's samples and the weights are
there before. Every measurement has a process of its own. Linux only.
"""

import argparse
import ctypes
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from audiomamba import audio, models
from audiomamba.audio import frames
from audiomamba.bench.machine import describe
from audiomamba.ops import chunking
from audiomamba.ops.mamba import in_chunks

MODELS = ("aum_small", "conv_aum_tiny")
SIDES = ("windows", "stretches", "whole")
SECONDS = (10, 60, 300, 1800)
RATE_HZ = 16_000
WINDOW_FRAMES, WINDOWS_PER_BATCH = 1024, 8
KIB_PER_MIB = 1024
WHOLE = 1 << 40
TOLERANCE = 1e-4  # of the largest logit, between one pass in stretches and as a whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seconds", type=int, nargs="+", default=SECONDS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where the results go, a line of JSON each")
    parser.add_argument("--measure", nargs=3, metavar=("MODEL", "SIDE", "SECONDS"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.measure:
        name, side, seconds = asked.measure
        print(json.dumps(measure(name, side, int(seconds))))
        return
    results = []
    for name in asked.models:
        for seconds in asked.seconds:
            results += compare(name, seconds, asked.threads)
    if asked.out is not None:
        asked.out.write_text("".join(json.dumps(result) + "\n" for result in results))


def compare(name: str, seconds: int, threads: int) -> list[dict[str, object]]:
    """All sides of one case; a single pass gives the same in stretches and as a whole."""
    found = {side: run(name, side, seconds, threads) for side in SIDES}
    logits = {side: torch.tensor(one.pop("logits")) for side, one in found.items()}
    apart = (logits["stretches"] - logits["whole"]).abs().max() / logits["whole"].abs().max()
    if apart > TOLERANCE:
        raise SystemExit(f"{name}, {seconds} s: stretches and whole are {apart:.1e} apart")
    results = [{**one, "apart": float(apart), **describe("cpu")} for one in found.values()]
    for result in results:
        print({key: result[key] for key in ("model", "side", "seconds", "wall_s", "peak_mib")})
    return results


def run(name: str, side: str, seconds: int, threads: int) -> dict[str, object]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--threads", str(threads), "--measure"]
    done = subprocess.run(
        [*command, name, side, str(seconds)], stdout=subprocess.PIPE, check=True, text=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


@torch.inference_mode()
def measure(name: str, side: str, seconds: int) -> dict[str, object]:
    """Score noise once, after a short call that loads what is loaded once."""
    if side == "whole":
        in_chunks.MANY_TOKENS_IN_SLICES = chunking.CHUNK_COLUMNS = frames.CHUNK_FRAMES = WHOLE
    torch.manual_seed(0)
    model = models.create(name, n_classes=10).eval()
    front_end = audio.FrontEnd(n_mels=model.config.n_mels, n_frames=WINDOW_FRAMES)
    samples = 0.1 * torch.randn(seconds * RATE_HZ)
    score(model, samples[:RATE_HZ], front_end, "windows")
    ctypes.CDLL(None).malloc_trim(0)  # what that has freed counts when it is used again
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    before = peak_mib()
    began_s = time.perf_counter()
    logits = score(model, samples, front_end, side)
    wall_s = time.perf_counter() - began_s
    return {
        "model": name,
        "side": side,
        "seconds": seconds,
        "wall_s": round(wall_s, 3),
        "real_time_factor": round(wall_s / seconds, 6),
        "peak_mib": round(peak_mib() - before, 1),
        "logits": logits.tolist(),
    }


def score(
    model: models.AudioModel, samples: torch.Tensor, front_end: audio.FrontEnd, side: str
) -> torch.Tensor:
    """The logits (classes,) of a recording; of windows their mean."""
    if side != "windows":
        n_frames = max(front_end.frames_in(len(samples)), front_end.n_frames)
        features = audio.features(samples[None], replace(front_end, n_frames=n_frames))
        return model(features)[0]
    logits = []
    for batch in samples.split(WINDOWS_PER_BATCH * front_end.n_samples):
        windows = batch.split(front_end.n_samples)
        padded = torch.nn.utils.rnn.pad_sequence(windows, batch_first=True)
        lengths = torch.tensor([len(window) for window in windows])
        logits.append(model(audio.features(padded, front_end, lengths)))
    return torch.cat(logits).mean(dim=0)


def peak_mib() -> float:
    """What the process has held at most."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) / KIB_PER_MIB


if __name__ == "__main__":
    main()
