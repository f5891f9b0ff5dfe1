"""Memory and time where there are very many files."""

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow.parquet import read_table, write_table

from audiomamba.bulk.computation import Computation
from audiomamba.bulk.part import Done, record_name, schema_of
from audiomamba.storage import Storage

# What the system says of the peak by getrusage is that of the process that started this one.
PEAK = """
def peak_mb():
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1]) // 1024
"""
MERGE = """
import sys
from pathlib import Path
from audiomamba.bulk import Plan, merge
from audiomamba.storage import Storage

n_parts = int(sys.argv[2])
facts = {"n_files": 1000 * n_parts, "n_parts": n_parts, "part_files": 1000}
before = peak_mb()
n_rows = merge(Plan(Storage(sys.argv[1]), facts), Path(sys.argv[3]))
print(n_rows, peak_mb() - before)
"""
PLAN = """
import sys, time
from pathlib import Path
from audiomamba.bulk import Computation, make_plan
from audiomamba.bulk.sources import list_recordings

began = time.process_time()
plan = make_plan(list_recordings(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Computation())
print(plan.n_files, peak_mb(), round(time.process_time() - began))
"""


def measured(code: str, *arguments: object) -> list[int]:
    """Run code in a process of its own; returns the numbers that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return list(map(int, done.stdout.split()))


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    "n_parts", [100, pytest.param(10_000, marks=pytest.mark.slow)], ids=["1e5", "1e7"]
)
def test_merging_takes_memory_that_does_not_grow(n_parts: int, tmp_path: Path) -> None:
    tags = [{"label": "dog", "score": 0.5, "heard": None}] * 3
    row = {"seconds": 10.0, "tags": tags, "note": "", "error": ""}
    rows = [{"file": f"/archive/{number:09d}.flac", **row} for number in range(1000)]
    storage, file = Storage(str(tmp_path / "out")), tmp_path / "part.parquet"
    write_table(pa.Table.from_pylist(rows, schema=schema_of(Computation())), file)
    data = file.read_bytes()
    digest = sha256(data).hexdigest()
    storage.write("parts/all.parquet", data)
    for part in range(n_parts):  # not as storage does it, which waits for the disk each time
        record = tmp_path / "out" / record_name(part)
        record.parent.mkdir(exist_ok=True)
        record.write_bytes(Done(part, "all.parquet", digest, 1000, 0, 1.0).to_bytes())

    n_rows, peak_mb = measured(MERGE, storage, n_parts, tmp_path / "all.parquet")

    print(f"{n_rows} rows, {peak_mb} MB")  # noqa: T201
    assert n_rows == 1000 * n_parts
    assert peak_mb < 200
    assert read_table(tmp_path / "all.parquet", columns=["seconds"]).num_rows == n_rows


@pytest.mark.slow
def test_a_million_paths_are_planned_in_300_mb_and_60_s(model_folder: Path, tmp_path: Path) -> None:
    with (tmp_path / "paths.txt").open("w") as file:
        file.writelines(
            f"/archive/{n % 365:03d}/site-{n % 97}/{n:09d}.flac\n" for n in range(10**6)
        )

    n_files, peak_mb, cpu_s = measured(PLAN, tmp_path / "paths.txt", tmp_path / "out", model_folder)

    print(f"{n_files} files, {peak_mb} MB, {cpu_s} s")  # noqa: T201
    assert n_files == 10**6
    assert peak_mb < 300
    assert cpu_s < 60
