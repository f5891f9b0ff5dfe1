"""How much memory does a training step need, and how fast is it, for AuM beside AST?

One step is forward, binary cross-entropy, backward and AdamW, in float32, on features that are
given: 128 mel bins in patches of 16x16, so that 512 tokens are 10 s of sound and 4096 are 82 s.
Every case runs in a process of its own. Its peak memory is what the process takes beyond what it
had before the model was made: weights, gradients, the optimizer's state, and what the layers keep
for the backward pass or, with activation checkpointing, compute again. Times are medians of steps
after the first. What cannot be compared across machines is said with each line: device, threads,
versions, commit and the command.

    python benchmarks/training_memory.py                  # all; appends to the file of results
    python benchmarks/training_memory.py --tokens 512     # one length
    python benchmarks/training_memory.py --minutes 7      # the cases that begin within 7 minutes;
                                                          # the same call again goes on
    python benchmarks/training_memory.py --table          # the last line of each case as Markdown
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import torch
from torch.nn import functional as F

from audiomamba import models
from audiomamba.bench.machine import describe
from audiomamba.train.fitting.activations import checkpoint_blocks

RESULTS = Path(__file__).parent / "results" / "training_memory.jsonl"
MODELS = ("aum_small", "ast_small")
TOKENS = (512, 1024, 2048, 4096)
N_MELS, PATCH, N_CLASSES = 128, 16, 527
BATCH = 2
THREADS = 2
LEAST_REPEATS, LEAST_SECONDS = 3, 5.0


def measure(name: str, tokens: int, batch: int, *, checkpointed: bool) -> dict[str, object]:
    """Train for some steps in this process."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    n_frames = tokens * PATCH * PATCH // N_MELS
    before = peak_mib(device)
    torch.manual_seed(0)
    model = models.create(name, n_classes=N_CLASSES, n_mels=N_MELS, n_frames=n_frames)
    model = model.to(device).train()
    if checkpointed:
        checkpoint_blocks(model)
    features = torch.randn(batch, n_frames, N_MELS, device=device)
    target = (torch.rand(batch, N_CLASSES, device=device) < 0.01).float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(features), target)
        loss.backward()
        optimizer.step()
        loss.item()  # waits for a GPU
        return time.perf_counter() - start

    step()
    seconds: list[float] = []
    while len(seconds) < LEAST_REPEATS or sum(seconds) < LEAST_SECONDS:
        seconds.append(step())
    return {
        "model": name,
        "tokens": tokens,
        "batch": batch,
        "activation_checkpointing": checkpointed,
        "peak_mib": round(peak_mib(device) - before, 1),
        "samples_per_s": round(batch / statistics.median(seconds), 4),
        "n_steps": len(seconds),
        "dtype": "float32",
        **describe(device),
        "command": " ".join(["python benchmarks/training_memory.py", *sys.argv[1:]]),
    }


def peak_mib(device: str) -> float:
    """The most memory that this process has had so far, or has had on the GPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def table(results: Path) -> str:
    """The last line of each case."""
    found: dict[tuple[int, str, bool], dict[str, object]] = {}
    for text in results.read_text().splitlines():
        line = json.loads(text)
        found[line["tokens"], line["model"], line["activation_checkpointing"]] = line
    head = ("tokens", "model", "activations", "peak MiB", "samples per s")
    rows = [head, ("---:", "---", "---", "---:", "---:")]
    for (tokens, model, again), line in sorted(found.items()):
        kept = "computed again" if again else "kept"
        cells = (
            str(tokens),
            model,
            kept,
            f"{line['peak_mib']:.0f}",
            f"{line['samples_per_s']:.2f}",
        )
        rows.append(cells)
    where = sorted(
        {f"{it['processor']}, {it['device']}, {it['threads']} threads" for it in found.values()}
    )
    batches = sorted({str(line["batch"]) for line in found.values()})
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{text}\n\nbatch {', '.join(batches)}, float32, {'; '.join(where)}\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="memory and speed of training steps")
    parser.add_argument("models", nargs="*", help="models; all without any")
    parser.add_argument("--tokens", type=int, nargs="+", default=TOKENS)
    parser.add_argument("--batch", type=int, default=BATCH, help="clips per step")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--out", type=Path, default=RESULTS, help="file that lines are added to")
    parser.add_argument("--table", action="store_true", help="print the results and end")
    parser.add_argument("--minutes", type=float, help="begin no case after so many")
    parser.add_argument("--one", choices=("kept", "again"), help="measure here and print the line")
    return parser.parse_args()


def main() -> None:
    given = parse()
    if given.table:
        print(table(given.out))
        return
    if given.one:
        torch.set_num_threads(given.threads)
        (name,), (tokens,) = given.models, given.tokens
        print(json.dumps(measure(name, tokens, given.batch, checkpointed=given.one == "again")))
        return
    given.out.parent.mkdir(parents=True, exist_ok=True)
    began, known = time.perf_counter(), done_cases(given) if given.minutes else set()
    for case in product(given.tokens, given.models or MODELS, ("kept", "again")):
        if case in known:
            continue
        if given.minutes and time.perf_counter() - began > 60 * given.minutes:
            print("the same call again goes on")
            return
        run_case(given, *case)


def done_cases(given: argparse.Namespace) -> set[tuple[int, str, str]]:
    """The cases that the file of results has, of this build and with these settings."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(given.threads)
    here = {"batch": given.batch, **describe(device)}
    lines = given.out.read_text().splitlines() if given.out.exists() else []
    return {
        (line["tokens"], line["model"], "again" if line["activation_checkpointing"] else "kept")
        for line in map(json.loads, lines)
        if all(line[name] == value for name, value in here.items())
    }


def run_case(given: argparse.Namespace, tokens: int, name: str, one: str) -> None:
    """Measure one case in a process of its own, and write it down."""
    command = [sys.executable, __file__, name, "--tokens", str(tokens), "--one", one]
    command += ["--batch", str(given.batch), "--threads", str(given.threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    line = json.loads(done.stdout)
    with given.out.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(
        f"{name:10} {tokens:5} tokens, activations {one:5} "
        f"{line['peak_mib']:8.0f} MiB {line['samples_per_s']:8.3f} samples/s",
        flush=True,
    )


if __name__ == "__main__":
    main()
