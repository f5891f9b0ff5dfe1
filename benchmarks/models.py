"""How large, how fast and how hungry is each model, for 10 s of sound or one image?

Every model runs in a process of its own, so that its peak memory is its own: that of the process
while the model runs, without what was there before the model was made. Times are medians of
forward passes in inference mode, float32, with fresh weights; features are given, decoding and the
front end are not part of it. What cannot be compared across machines is said with each line:
device, threads, versions, commit.

    python benchmarks/models.py                      # all; appends to results/models.jsonl
    python benchmarks/models.py aum_tiny cnn_small   # some
    python benchmarks/models.py --table              # the last line of each model as Markdown
    python benchmarks/models.py --sizes              # parameters and MACs, counted without a run
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

import audiomamba
from audiomamba import counting, models, ops

RESULTS = Path(__file__).parent / "results" / "models.jsonl"
BATCHES = (1, 8)
THREADS = 2
LEAST_REPEATS, LEAST_SECONDS = 5, 2.0


def measure(name: str, threads: int) -> dict[str, object]:
    """Everything about one model, in this process."""
    torch.set_num_threads(threads)
    config = counting.at_standard_size(models.MODELS[name])
    count = counting.count(config)
    before = peak_mib()
    torch.manual_seed(0)
    model = config.build().eval()
    times, peaks = {}, {}
    for batch in BATCHES:
        x = counting.example_input(config, batch).normal_()
        times[batch] = seconds_per_pass(model, x) / batch
        peaks[batch] = peak_mib() - before
    return {
        "model": name,
        "input": f"{config.n_mels}x{config.n_frames}",
        "parameters": count.n_parameters,
        "macs": count.macs,
        "scan_steps": count.scan_steps,
        "ms_per_input": {str(batch): round(1e3 * times[batch], 2) for batch in BATCHES},
        "peak_mib": {str(batch): round(peaks[batch], 1) for batch in BATCHES},
        "dtype": "float32",
        "device": device(),
        "threads": threads,
        "backends": list(ops.available_backends()),
        "versions": {
            "audiomamba": audiomamba.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "commit": commit(),
    }


def seconds_per_pass(model: models.AudioModel, x: torch.Tensor) -> float:
    times: list[float] = []
    with torch.inference_mode():
        model(x)
        while len(times) < LEAST_REPEATS or sum(times) < LEAST_SECONDS:
            start = time.perf_counter()
            model(x)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def peak_mib() -> float:
    """The most memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def device() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def commit() -> str:
    """The commit of the code that ran, marked if it was changed since."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def table() -> str:
    """The last line of each model."""
    lines = map(json.loads, RESULTS.read_text().splitlines())
    found = {line["model"]: line for line in lines}
    head = ("model", "input", "parameters", "MACs", *(f"ms, batch {b}" for b in BATCHES))
    head += tuple(f"MiB, batch {b}" for b in BATCHES)
    rows = [head, ("---", "---", *["---:"] * (len(head) - 2))]
    for name, line in sorted(found.items()):
        size = (f"{line['parameters'] / 1e6:.2f} M", f"{line['macs'] / 1e9:.2f} G")
        times = (f"{line['ms_per_input'][str(b)]:.1f}" for b in BATCHES)
        peaks = (f"{line['peak_mib'][str(b)]:.0f}" for b in BATCHES)
        rows.append((name, line["input"], *size, *times, *peaks))
    where = sorted({f"{it['device']}, {it['threads']} threads" for it in found.values()})
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{text}\n\nms per input, {'; '.join(where)}\n"


def sizes() -> str:
    """Parameters and multiply-accumulates of every model, counted."""
    rows = [("model", "input", "parameters", "MACs"), ("---", "---", "---:", "---:")]
    for name in models.names():
        config = counting.at_standard_size(models.MODELS[name])
        count = counting.count(config)
        numbers = (f"{count.n_parameters / 1e6:.2f} M", f"{count.macs / 1e9:.2f} G")
        rows.append((name, f"{config.n_mels}x{config.n_frames}", *numbers))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="models; all if none is given")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--table", action="store_true", help="print the results so far")
    parser.add_argument("--sizes", action="store_true", help="print what can be counted")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = sorted(set(args.names) - set(models.names()))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(models.names())}")
    if args.table:
        print(table(), end="")
    elif args.sizes:
        print(sizes(), end="")
    elif args.here:
        print(json.dumps(measure(args.names[0], args.threads)))
    else:
        for name in args.names or models.names():
            command = [sys.executable, __file__, name, "--here", f"--threads={args.threads}"]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            print(done.stdout, end="", flush=True)
            with RESULTS.open("a") as file:
                file.write(done.stdout)


if __name__ == "__main__":
    main()
