import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from audiomamba import ops
from audiomamba.cli import app
from audiomamba.doctor import Finding, examine
from audiomamba.ops import backends

REASON = "the compiled library is missing"


def found(area: str, name: str) -> Finding:
    (finding,) = (it for it in examine() if (it.area, it.name) == (area, name))
    return finding


@pytest.fixture
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where the package was installed without a compiler."""
    without = replace(backends.BACKENDS["cpu"], problem=lambda: REASON)
    monkeypatch.setattr(backends, "BACKENDS", {**backends.BACKENDS, "cpu": without})


def test_every_op_is_reported_with_its_backends() -> None:
    for op in {status.op for status in ops.explain_backends()}:
        assert "reference" in found("backends", op).value


def test_compiled_kernels_are_compared_with_plain_pytorch() -> None:
    scan = found("backends", "one scan")

    assert scan.state == "ok"
    assert "times faster" in scan.value


@pytest.mark.usefixtures("no_kernels")
def test_without_kernels_the_reason_and_the_remedy_are_given() -> None:
    assert found("backends", "(cpu)").value == REASON
    assert found("backends", "(cpu)").state == "slow"
    scan = found("backends", "one scan")
    assert scan.state == "slow"
    assert "50 times slower" in scan.value
    assert "C++ compiler" in scan.advice


@pytest.mark.parametrize(
    ("module", "area", "name", "extra"),
    [
        ("av", "decoders", "av", "media"),
        ("matplotlib", "extras", "plot", "plot"),
        ("lightning", "extras", "train", "train"),
    ],
)
def test_a_missing_extra_is_reported_with_its_name(
    module: str, area: str, name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    finding = found(area, name)

    assert finding.state == "missing"
    assert finding.advice == f"pip install 'audiomamba[{extra}]'"


def test_everything_is_there_in_the_tested_environment() -> None:
    assert [finding for finding in examine() if finding.state == "missing"] == []


@pytest.mark.usefixtures("no_kernels")
def test_the_command_marks_what_is_slow() -> None:
    result = CliRunner().invoke(app, ["doctor"])

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert any(line.startswith("! ") and REASON in line for line in lines)
    assert lines[0] == "machine"
    assert "extras" in lines
