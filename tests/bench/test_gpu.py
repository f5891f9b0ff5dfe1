"""The benchmarks for GPUs, as far as they go without one."""

import pytest
import torch
from typer.testing import CliRunner

from audiomamba.bench import cases, runner
from audiomamba.bench.gpu_cases import GPU_GROUPS, groups_of
from audiomamba.bench.record import Result, table
from audiomamba.cli import app
from audiomamba.ops import gpu

QUIET = runner.Settings(measure_memory=False)
needs_interpreter = pytest.mark.skipif(
    gpu.problem() is not None or not gpu.interpreted(), reason="Triton is not interpreted here"
)
SMALL = {"tokens": 3, "channels": 4, "n_rounds": 3}
BOTH: cases.Pass = "forward and backward"


def test_every_case_stands_in_its_group_and_is_there_once() -> None:
    for name, group in GPU_GROUPS.items():
        settings = [(tuple(case.settings().items()), case.implementations[0]) for case in group]
        assert len(set(settings)) == len(settings) > 0
        assert {case.group for case in group} == {name}
        assert all(
            len(set(case.implementations)) == len(case.implementations) > 1 for case in group
        )


def test_groups_go_by_device() -> None:
    assert groups_of("cuda") is GPU_GROUPS
    assert groups_of("cpu") is cases.GROUPS
    assert set(GPU_GROUPS) < set(cases.GROUPS)


def test_cases_are_listed_without_a_gpu() -> None:
    done = CliRunner().invoke(app, ["bench", "scan", "--list", "--device", "cuda"])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 1 + len(GPU_GROUPS["scan"])
    assert any("tokens 65536" in line for line in lines)
    assert all("triton | triton, CUDA graph | mamba-ssm" in line for line in lines[1:])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured() -> None:
    done = CliRunner().invoke(app, ["bench", "norm", "--quick", "--device", "cuda"])
    assert done.exit_code == 2
    assert "no GPU" in done.stderr


@needs_interpreter
@pytest.mark.parametrize(
    "case",
    [
        cases.ScanCase(implementations=("triton", "torch"), direction=BOTH, **SMALL),
        cases.ConvCase(implementations=("triton", "F.conv1d and F.silu"), direction=BOTH, **SMALL),
        cases.NormCase(
            implementations=("triton", "addition and F.rms_norm"), direction=BOTH, **SMALL
        ),
        cases.CrossScanCase(
            implementations=("triton", "torch"), side_length=2, channels=32, n_rounds=3
        ),
    ],
    ids=lambda case: case.group,
)
def test_the_implementations_of_a_gpu_agree(case: cases.Case) -> None:
    results = list(runner.run(case, QUIET))
    assert [(one.error, one.missing) for one in results] == [(None, None)] * len(
        case.implementations
    )


@needs_interpreter
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_needs_a_gpu_is_a_missing_implementation() -> None:
    case = cases.ScanCase(implementations=("torch", "triton, CUDA graph", "mamba-ssm"), **SMALL)
    found = {one.implementation: one.missing for one in runner.run(case, QUIET)}
    assert found["torch"] is None
    assert "does not run on cpu" in str(found["triton, CUDA graph"])
    assert "mamba" in str(found["mamba-ssm"])


@needs_interpreter
def test_the_limits_compute_what_they_say() -> None:
    from audiomamba.bench import gpu_limits

    x = torch.linspace(0, 1, 16 * 128).view(16, 128)
    expected = torch.exp2(-torch.exp2(-torch.exp2(-x))).sum(0)
    found = gpu_limits.exponentials(x, n_programs=2, n_rounds=3)
    torch.testing.assert_close(found, expected.expand(2, -1))
    numbers = torch.randn(5000)
    assert torch.equal(gpu_limits.copied(numbers), numbers)


def test_the_share_of_the_limit_is_shown() -> None:
    one = Result(
        group="scan",
        case={},
        implementation="triton",
        base="triton",
        median_ms=1.0,
        updates_per_s=2e12,
        share_of_exponentials=0.52,
    )
    assert table([one])[1][-1] == "2000.00 G updates/s, 52% of all exponentials"
