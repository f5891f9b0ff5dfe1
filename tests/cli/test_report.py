import json
from pathlib import Path

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
    assert failed.exit_code == 1
    assert failed.stderr.startswith(f"audiomamba: {tmp_path}: no run in it")
