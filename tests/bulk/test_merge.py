import json
from pathlib import Path

import pytest
from bulk_runs import plan, run
from pyarrow.parquet import read_table

from audiomamba import bulk
from audiomamba.bulk import Plan
from audiomamba.bulk.launch import Share


def test_parquet_has_the_rows_and_what_they_depend_on(
    undisturbed: Path, expected: list[dict], tmp_path: Path
) -> None:
    bulk.merge(Plan.open(str(undisturbed)), tmp_path / "all.parquet")

    table = read_table(tmp_path / "all.parquet")

    assert table.column("file").to_pylist() == [row["file"] for row in expected]
    about = json.loads(table.schema.metadata[b"audiomamba"])
    assert about["model"] == "tiny"
    assert about["computation"]["tags"]


def test_only_what_is_complete_is_merged_unless_asked(
    clips: Path, model_folder: Path, tmp_path: Path
) -> None:
    plan(tmp_path / "out", model_folder, clips)
    bulk.launch(Plan.open(str(tmp_path / "out")), Share(0, 5))

    done = run("merge", tmp_path / "out", "--to", tmp_path / "all.jsonl")

    assert done.exit_code == 2
    assert "2 of 10 parts are done" in done.stderr
    assert not (tmp_path / "all.jsonl").exists()
    assert run("verify", tmp_path / "out").exit_code == 1
    assert bulk.merge(Plan.open(str(tmp_path / "out")), tmp_path / "a.jsonl", partial=True) == 40


def test_a_damaged_part_is_found_and_made_anew(
    clips: Path, model_folder: Path, tmp_path: Path
) -> None:
    plan(tmp_path / "out", model_folder, clips)
    opened = Plan.open(str(tmp_path / "out"))
    bulk.launch(opened)
    part = sorted((tmp_path / "out" / "parts").iterdir())[3]
    whole = part.read_bytes()
    part.write_bytes(whole[:-100])

    done = run("verify", tmp_path / "out", "--redo")

    assert done.exit_code == 1
    assert "part 3" in done.stderr
    assert "is not as it was written" in done.stderr
    bulk.launch(opened)
    assert part.read_bytes() == whole
    assert not list(bulk.verify(opened))


@pytest.mark.parametrize("name", ["all.txt", "missing/all.jsonl"])
def test_a_table_that_cannot_be_written_is_refused(undisturbed: Path, name: str, tmp_path) -> None:
    done = run("merge", undisturbed, "--to", tmp_path / name)

    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
