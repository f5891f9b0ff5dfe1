"""The fuzzing run: fuzzing_run.py [--files N] [--seed N] [--first N] [--minutes N] [--model DIR].

Damaged files are read in child processes; one that crashes is named, and the others are done by the
next. Prints what came of them, as JSON. Any file is made again by its seed and number.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

FILES_PER_PROCESS = 2_000
CHILD_S = 600
READER = Path(__file__).with_name("damaged_reader.py")


@dataclass
class Found:
    """What came of the files."""

    seed: int
    n_files: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    peak_kib: list[int] = field(default_factory=list)  # of each process
    bad: list[dict[str, object]] = field(default_factory=list)

    def take(self, progress: Path, n_before: int) -> int:
        """Take what a process has written; returns the number of the next file."""
        lines = [json.loads(line) for line in progress.read_text().splitlines()]
        number, peak_kib = n_before, 0
        for line in lines:
            number = line["number"]
            if "format" in line:
                self.n_files += 1
                self.formats[line["format"]] += 1
                continue
            self.outcomes[line["outcome"]] += 1
            peak_kib = max(peak_kib, line["peak_kib"])
            if line["outcome"] in ("hang", "broken"):
                self.bad.append(line)
        self.peak_kib.append(peak_kib)
        if lines and "outcome" not in lines[-1]:
            self.outcomes["crash"] += 1
            self.bad.append({"number": number, "outcome": "crash", "format": lines[-1]["format"]})
        return number + 1


def run(
    n_files: int, *, seed: int = 0, first: int = 0, minutes: float = 600, model: Path | None = None
) -> Found:
    """Read damaged files.

    Args:
        n_files: how many.
        seed: of the run.
        first: number of the first.
        minutes: after which no further process is started.
        model: a model's folder, with which some are tagged.

    Returns:
        What came of them.
    """
    found, number, end = Found(seed), first, first + n_files
    deadline = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as folder:
        progress = Path(folder, "progress")
        while number < end and time.monotonic() < deadline:
            progress.write_text("")
            last = min(end, number + FILES_PER_PROCESS)
            arguments = [seed, number, last, progress, *([model] if model else [])]
            try:
                done = subprocess.run(
                    [sys.executable, str(READER), *map(str, arguments)],
                    stderr=subprocess.PIPE,
                    timeout=CHILD_S,
                    check=False,
                )
                code, said = done.returncode, done.stderr.decode(errors="replace")
            except subprocess.TimeoutExpired:
                code, said = -signal.SIGALRM, "the process did not end"
            number = found.take(progress, number)
            if code:
                found.bad.append({"number": number - 1, "code": code, "why": said[-2_000:]})
                if not progress.read_text():
                    break
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    began = time.monotonic()
    found = run(
        given.files,
        seed=given.seed,
        first=given.first,
        minutes=given.minutes,
        model=given.model,
    )
    print(  # noqa: T201  # what it is for
        json.dumps(
            {
                "seed": found.seed,
                "files": found.n_files,
                "minutes": round((time.monotonic() - began) / 60, 1),
                "outcomes": found.outcomes,
                "formats": found.formats,
                "peak_mib": [kib // 1024 for kib in found.peak_kib],
                "bad": found.bad,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
