"""How good is what `audiomamba finetune` makes of ESC-50 and ESC-10, and what does it take?

Each official fold is a test set that finetune never sees: it is given a table of the clips of the
other four, with a column of groups (the recording that clips were cut from), and holds out its own
fifth of them, which decide what it hands over and the thresholds. Then `audiomamba evaluate` scores
the fold. All settings are the defaults, so the start is the model that ships.

    esc50-1 ... esc10-5     the five folds of each
    few-1 ... few-5         ten clips of each of ESC-50's classes, where the others have 32
    all-1                   as esc50-1, with all layers trained whatever the head does
    scratch-1               as esc50-1, from fresh weights

A call that is done is not done again; to run in pieces, name some of the calls.

    python benchmarks/finetune_esc50.py --data ESC-50 --work runs/esc50 \
        --out benchmarks/results/finetune_esc50.json
"""

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from audiomamba.bench.machine import describe

FOLDS = ("1", "2", "3", "4", "5")
N_FEW = 10  # clips of each class
OPTIONS = {
    "esc50": (),
    "esc10": (),
    "few": (),
    "all": ("--set", "augment.gain_db=6"),  # its default; what is set says that layers are trained
    "scratch": ("--model", "conv_aum_tiny"),
}
CALLS = (*(f"{kind}-{fold}" for kind in ("esc50", "esc10", "few") for fold in FOLDS), "all-1")

Row = dict[str, str]


def tables(corpus: Path, work: Path, kind: str, fold: str) -> tuple[Path, Path]:
    """Write the tables to learn from and to be tested on."""
    rows = list(csv.DictReader((corpus / "meta" / "esc50.csv").read_text("utf-8").splitlines()))
    if kind == "esc10":
        rows = [row for row in rows if row["esc10"] == "True"]
    learned = [row for row in rows if row["fold"] != fold]
    if kind == "few":
        learned = few(learned)
    paths = work / f"{kind}-{fold}.csv", work / f"{kind}-{fold}-test.csv"
    work.mkdir(parents=True, exist_ok=True)
    for path, chosen in zip(paths, (learned, [r for r in rows if r["fold"] == fold]), strict=True):
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(("filename", "label", "group"))
            for row in chosen:
                clip = (corpus / "audio" / row["filename"]).resolve()
                table.writerow((clip, row["category"], row["src_file"]))
    return paths


def few(rows: list[Row]) -> list[Row]:
    """Ten clips of each class, drawn once."""
    seen: Counter[str] = Counter()
    found = []
    for index in np.random.default_rng(0).permutation(len(rows)).tolist():
        seen[rows[index]["category"]] += 1
        if seen[rows[index]["category"]] <= N_FEW:
            found.append(rows[index])
    return found


def call(*arguments: object, threads: int) -> tuple[str, dict[str, float]]:
    """Run a command as a user does: what it says, and the seconds it takes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "audiomamba", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))}\n{done.stderr}")
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    took = {"processor seconds": round(spent_s, 1), "seconds": round(time.perf_counter() - began)}
    return done.stdout, took


def measure(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Finetune on four folds, and evaluate on the fifth."""
    kind, _, fold = name.partition("-")
    learned, test = tables(args.data, args.work, kind, fold)
    out = args.work / name
    options = ("--threads", args.threads, *OPTIONS[kind])
    said, took = call("finetune", "--data", learned, "--out", out, *options, threads=args.threads)
    scores, _ = call(
        "evaluate", out, "--data", test, "--split", "all", "--json", threads=args.threads
    )
    found = json.loads(scores)["metrics"]
    held_out = json.loads((out / "evaluation.json").read_text("utf-8"))["metrics"]
    return {
        "accuracy": round(found["accuracy"], 4),
        "mean average precision": round(found["mean_average_precision"], 4),
        "test clips": found["n_clips"],
        "clips given": sum(1 for _ in learned.open(encoding="utf-8")) - 1,
        "held out by finetune": held_out["n_clips"],
        "accuracy on these": round(held_out["accuracy"], 4),
        "said": said.splitlines()[0].partition(";")[0],
        **took,
    }


def summary(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Means over the folds that are done."""
    found: dict[str, Any] = {}
    for kind in OPTIONS:
        own = [one for name, one in runs.items() if name.partition("-")[0] == kind]
        if own:
            found[kind] = {
                "folds": len(own),
                **{
                    key: round(statistics.mean(one[key] for one in own), 4)
                    for key in ("accuracy", "mean average precision", "processor seconds")
                },
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calls", nargs="*", help="such as esc50-1; all but scratch-1 without any")
    parser.add_argument("--data", type=Path, required=True, help="ESC-50")
    parser.add_argument("--work", type=Path, required=True, help="where tables and models go")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    record: dict[str, Any] = {
        "command": "python benchmarks/finetune_esc50.py --data ESC-50 --work runs/esc50",
        "means": {},
        "runs": {},
        **describe("cpu"),
        "threads": args.threads,  # of a call, not of this process
    }
    if args.out.exists():
        record["runs"] = json.loads(args.out.read_text("utf-8"))["runs"]
    for name in args.calls or CALLS:
        if name in record["runs"]:
            continue
        record["runs"][name] = measure(name, args)
        record["means"] = summary(record["runs"])
        args.out.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
        print(name, json.dumps(record["runs"][name]), flush=True)


if __name__ == "__main__":
    main()
