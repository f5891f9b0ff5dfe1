"""How tests plan and run, and how they look at what came of it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from typer.testing import CliRunner, Result

from audiomamba.bulk.merge import merge
from audiomamba.bulk.plan import Plan
from audiomamba.cli import app

# Put where Python finds it, this spoils what is done with some files, in every process.
SPOILT = """
import os, time
from audiomamba.audio import blocks
from audiomamba.bulk import group

def spoil(name):
    original = getattr(blocks, name)
    def spoilt(file, *arguments):
        called = str(arguments[0]) if arguments else ""
        if "ends-its-process" in called:
            os._exit(7)
        if "hangs" in called:
            time.sleep(1000)
        return original(file, *arguments)
    setattr(blocks, name, spoilt)

spoil("open_stream")
rows = group.Computer.rows

def spoilt_rows(self, names, files):
    for name, file in zip(names, files):
        if "ends-its-worker" in name and not isinstance(file, str):
            os._exit(9)
    return rows(self, names, files)

group.Computer.rows = spoilt_rows
"""


def write_clips(folder: Path, n: int) -> Path:
    """Short recordings of noise, 0.1 to 0.3 s each."""
    rng = np.random.default_rng(0)
    for number in range(n):
        path = folder / f"{number // 1000:03d}" / f"{number:06d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = 0.1 * rng.standard_normal(rng.integers(1600, 4800))
        soundfile.write(path, samples, 16_000)
    return folder


def command(*arguments: object) -> list[str]:
    """What runs a command of `audiomamba bulk` in a process of its own."""
    return [sys.executable, "-m", "audiomamba", "bulk", *map(str, arguments)]


def call(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of `audiomamba bulk`."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, **options
    )


def run(*arguments: object) -> Result:
    """Run a command of `audiomamba bulk` in this process."""
    result = CliRunner().invoke(app, ["bulk", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def plan(out: object, model: Path, *sources: object, part_files: int = 20) -> None:
    """Make a plan."""
    done = run("plan", *sources, "--out", out, "--model", model, "--part-files", part_files)
    assert done.exit_code == 0, done.stderr


def rows_of(out: object, table: Path) -> list[dict[str, Any]]:
    """All rows of what is done, in the order of the plan."""
    merge(Plan.open(str(out)), table, overwrite=True)
    return [json.loads(line) for line in table.read_text().splitlines()]


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == process:
                found.append(int(folder.name))
    return found


def workers(process: int) -> list[int]:
    """The workers of a run, which a server of processes has started for it."""
    return [worker for server in children(process) for worker in children(server)]


def spoilt_environment(folder: Path) -> dict[str, str]:
    """An environment in which files that are named so end processes, or hang."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(SPOILT)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def files_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [row["file"] for row in rows]
