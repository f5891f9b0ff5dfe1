"""Is `audiomamba finetune` on a folder of one's own as good as the recipe that was written for it?

ESC-10 is laid out as somebody's own recordings: a folder per class, the clips in turn as WAV, FLAC,
Ogg Vorbis and MP3, at five sample rates, every third in stereo, and two files that are broken.

    folders     finetune learns from the folders as they are, for a minute: are all clips used, and
                both broken files named at the end?
    fold-1 ...  it learns from a table of the same files, with a column of groups (the recording
                that clips were cut from), once per official fold, which is held out

It starts from fresh weights, as the recipe does: the models that ship with the package have heard
all of ESC-10. What is held out also chooses the epoch that finetune hands over, while the recipe's
figure is that of its last epoch; so the last epoch's figure is given beside it.

A call that is done is not done again; to run in pieces, name some of the calls.

    python benchmarks/finetune_own_data.py --data ESC-10 --work runs/own \
        --out benchmarks/results/finetune_own_data.json
"""

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from audiomamba import data
from audiomamba.bench.machine import describe
from audiomamba.data import Clip

MODEL = "conv_aum_tiny"  # the recipe's
RECIPE = Path(__file__).parent / "results" / "esc10" / "starter.json"
FORMATS = ("wav", "flac", "ogg", "mp3")
RATES_HZ = (16_000, 22_050, 32_000, 44_100, 48_000)
STEREO_EVERY = 3
BROKEN = ("dog/notes.wav", "rain/cut.flac")
FOLDS = ("1", "2", "3", "4", "5")
FOLDERS_MINUTES = 1.0


def lay_out(corpus: Path, folder: Path) -> None:
    """Write the clips, the two broken files, and one table per fold."""
    clips = data.open_manifest(corpus, "esc10").clips
    order = np.random.default_rng(0).permutation(len(clips)).tolist()
    rows = []
    for place, clip in zip(order, clips, strict=True):
        name = f"{clip.labels[0]}/{clip.path.stem}.{FORMATS[place % len(FORMATS)]}"
        path = folder / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_clip(clip, path, place)
        rows.append((name, clip.labels[0], clip.path.stem.split("-")[1], clip.split))
    spoil(folder / "clips", rows)
    for fold in FOLDS:
        with (folder / f"fold-{fold}.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(("filename", "label", "group", "split"))
            for name, label, group, where in rows:
                split = "valid" if where == fold else "train"
                table.writerow((f"clips/{name}", label, group, split))


def write_clip(clip: Clip, path: Path, place: int) -> None:
    """Write one clip in the format, at the rate and with the channels of its place."""
    samples, rate_hz = soundfile.read(clip.path, dtype="float32")
    new_rate_hz = RATES_HZ[place % len(RATES_HZ)]
    samples = soxr.resample(samples, rate_hz, new_rate_hz)
    if place % STEREO_EVERY == 0:
        samples = np.stack([samples, samples / 2], axis=1)
    soundfile.write(path, np.clip(samples, -1, 1), new_rate_hz)


def spoil(folder: Path, rows: list[tuple[str, str, str, str | None]]) -> None:
    """Add a text that is named like a recording, and a file that breaks off in its header."""
    no_sound, cut = (folder / name for name in BROKEN)
    no_sound.write_text("not a recording\n" * 100)
    whole = next(name for name, *_ in rows if name.endswith(".flac"))
    cut.write_bytes((folder / whole).read_bytes()[:100])
    rows += [(name, name.split("/")[0], "", "1") for name in BROKEN]


def finetune(source: Path, out: Path, minutes: float, threads: int) -> dict[str, Any]:
    """Run the command as a user does, and read what it says and writes."""
    command = [sys.executable, "-m", "audiomamba", "finetune", "--data", str(source)]
    command += ["--out", str(out), "--model", MODEL]
    command += ["--minutes", f"{minutes:g}", "--threads", str(threads)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1) or not (out / "evaluation.json").is_file():
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    held_out = json.loads((out / "evaluation.json").read_text("utf-8"))["metrics"]
    epochs = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    record = json.loads((out / "run.json").read_text("utf-8"))
    last = next(line for line in reversed(epochs) if "ema_accuracy" in line)
    return {
        "minutes": minutes,
        "exit code": done.returncode,
        "named at the end": [
            name for name in BROKEN if any(name in line for line in done.stderr.splitlines())
        ],
        "lines on stderr": len(done.stderr.splitlines()),
        "training clips": record["data"]["n_training"],
        "held-out clips": held_out["n_clips"],
        "accuracy": held_out["accuracy"],
        "accuracy after the last epoch": last["ema_accuracy"],
        "epochs": len(epochs),
        "most epochs": record["recipe"]["epochs"],
        "said": done.stdout.splitlines()[0].partition(";")[0],
        "processor seconds": round(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1
        ),
    }


def summary(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The means over the folds that are done, beside the recipe's."""
    recipe = json.loads(RECIPE.read_text("utf-8"))
    numbers = [name.removeprefix("fold-") for name in runs if name.startswith("fold-")]
    of_recipe = [one for one in recipe["folds"] if str(one["fold"]) in numbers]
    keys = ("accuracy", "accuracy after the last epoch")
    found = {
        key: round(statistics.mean(runs[f"fold-{fold}"][key] for fold in numbers), 4)
        for key in keys
        if numbers
    }
    return {
        "folds": numbers,
        **found,
        "the recipe's accuracy after the last epoch, same folds": {
            "weights": round(statistics.mean(one["accuracy"] for one in of_recipe), 4),
            "averaged weights": round(statistics.mean(one["ema_accuracy"] for one in of_recipe), 4),
        }
        if of_recipe
        else {},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calls", nargs="*", help="folders, fold-1 to fold-5; all without any")
    parser.add_argument("--data", type=Path, required=True, help="ESC-10")
    parser.add_argument("--work", type=Path, required=True, help="where clips and models go")
    parser.add_argument("--minutes", type=float, default=8.0, help="for each fold")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    lay_out(args.data, args.work)
    kinds = Counter(path.suffix[1:] for path in (args.work / "clips").rglob("*.*"))
    record: dict[str, Any] = {
        "command": "python benchmarks/finetune_own_data.py --data ESC-10 --work runs/own",
        "files": dict(sorted(kinds.items())),
        "threads": args.threads,
        "model": f"{MODEL}, fresh weights",
        "runs": {},
        **describe("cpu"),
    }
    if args.out.exists():
        record["runs"] = json.loads(args.out.read_text("utf-8"))["runs"]
    for call in args.calls or ("folders", *(f"fold-{fold}" for fold in FOLDS)):
        if call in record["runs"]:
            continue
        is_folders = call == "folders"
        source = args.work / "clips" if is_folders else args.work / f"{call}.csv"
        minutes = FOLDERS_MINUTES if is_folders else args.minutes
        found = finetune(source, args.work / "models" / call, minutes, args.threads)
        record["runs"][call] = found
        record["over the folds"] = summary(record["runs"])
        args.out.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
        print(call, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
