"""A process that keeps freed memory does not ask the system for it again."""

import subprocess
import sys

import pytest

CODE = """
import resource, torch
from audiomamba.infer.freed_memory import keep_freed_memory
if {keeps} and not keep_freed_memory():
    raise SystemExit(3)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(1 << 24)  # 64 MiB
before = faults()
for _ in range(8):
    torch.ones(1 << 24)
print(faults() - before)
"""


def new_pages(*, keeps: bool) -> int:
    """How many pages a process is given while it makes and frees a tensor again and again."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(keeps=keeps)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 3:
        pytest.skip("the system's allocator is not glibc's")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_freed_memory_is_used_again() -> None:
    given_back, kept = new_pages(keeps=False), new_pages(keeps=True)
    assert kept < given_back / 4
