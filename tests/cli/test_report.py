import json
import resource
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audiomamba.cli import app


def test_a_report_is_written_and_what_is_no_run_is_named(tmp_path: Path) -> None:
    run, page = tmp_path / "run", tmp_path / "page.html"
    run.mkdir()
    recipe = {"name": "own/starter", "model": "conv_aum_tiny"}
    (run / "run.json").write_text(json.dumps({"recipe": recipe}))
    (run / "metrics.jsonl").write_text('{"epoch": 1, "loss": 2.5}\n')

    done = CliRunner().invoke(app, ["report", str(run), "--out", str(page)])
    failed = CliRunner().invoke(app, ["report", str(tmp_path), "--out", str(page)])

    assert (done.exit_code, done.stdout) == (0, f"{page} is written.\n")
    assert "own/starter; model conv_aum_tiny" in page.read_text("utf-8")
    assert failed.exit_code == 2
    assert failed.stderr.startswith(f"audiomamba: {tmp_path}: no run in it")


@pytest.mark.parametrize("name", ["config.json", "run.json", "metrics.jsonl", ""])
def test_a_report_replaces_nothing_but_a_report(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"recipe": {"name": "own/starter"}}))
    (run / "metrics.jsonl").write_text('{"epoch": 1, "loss": 2.5}\n')
    (run / "config.json").write_text("{}")
    before = {path: path.read_bytes() for path in run.iterdir()}

    refused = CliRunner().invoke(app, ["report", str(run), "--out", str(run / name)])

    assert refused.exit_code == 2
    assert "expected another name" in refused.stderr or "is a folder" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in run.iterdir()} == before


def test_a_report_on_a_full_disk_is_one_line_and_the_old_one_stays(tmp_path: Path) -> None:
    run, page = tmp_path / "run", tmp_path / "page.html"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"recipe": {"name": "own/starter"}}))
    (run / "metrics.jsonl").write_text('{"epoch": 1, "loss": 2.5}\n')
    arguments = ["report", str(run), "--out"]
    assert CliRunner().invoke(app, [*arguments, str(page)]).exit_code == 0
    before = page.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        full = CliRunner().invoke(app, [*arguments, str(page)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    for answer in (full, CliRunner().invoke(app, [*arguments, "/dev/full"])):
        assert answer.exit_code == 2
        assert "cannot be written" in answer.stderr
        assert len(answer.stderr.splitlines()) == 1
    assert page.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [page, run]
