"""Rows that survive the process."""

import json
from pathlib import Path

import pytest

from audiomamba.errors import ConfigError, DataError
from audiomamba.infer.journal import Journal, Rows

CALL = {"model": "tiny", "top": 3}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    files = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")]
    for file in files:
        file.write_bytes(b"sound")
    return files


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "out" / "tags.jsonl"


def begin(table: Path, files: list[Path], *, overwrite: bool = False, **changes: object) -> Journal:
    table.parent.mkdir(exist_ok=True)
    return Journal(table, {**CALL, **changes}, files, overwrite=overwrite)


def write(file: Path, rows: Rows) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows()))


def fill(journal: Journal, *files: Path, error: str = "") -> None:
    for file in files:
        journal.add(file, {"name": file.stem, "error": error})


def names(table: Path) -> list[str]:
    return [json.loads(line)["name"] for line in table.read_text().splitlines()]


def test_the_table_is_in_the_order_of_the_recordings_and_nothing_else_is_left(
    table: Path, files: list[Path]
) -> None:
    journal = begin(table, files)
    fill(journal, *reversed(files), error="")
    journal.finish(write)
    journal.close()

    assert names(table) == ["a", "b", "c"]
    assert sorted(file.name for file in table.parent.iterdir()) == [
        "tags.jsonl",
        "tags.jsonl.run.json",
    ]


def test_a_cut_off_call_goes_on(table: Path, files: list[Path]) -> None:
    first = begin(table, files)
    fill(first, files[1])
    first.close()

    second = begin(table, files)
    assert list(second.todo()) == [files[0], files[2]]
    fill(second, *second.todo(), error="damaged")
    second.finish(write)

    assert names(table) == ["a", "b", "c"]
    assert second.n_failed == 2


@pytest.mark.parametrize("n_lost", range(1, 60, 7))
def test_a_line_that_was_not_written_to_its_end_is_made_anew(
    table: Path, files: list[Path], n_lost: int
) -> None:
    first = begin(table, files)
    fill(first, *files[:2])
    first.close()
    journal = table.with_name("tags.jsonl.journal")
    journal.write_bytes(journal.read_bytes()[:-n_lost])

    second = begin(table, files)
    assert list(second.todo()) == files[1:]
    fill(second, *files[1:])
    second.finish(write)

    assert names(table) == ["a", "b", "c"]


def test_a_recording_that_changed_since_is_done_again(table: Path, files: list[Path]) -> None:
    first = begin(table, files)
    fill(first, *files)
    first.close()
    files[1].write_bytes(b"more sound")

    second = begin(table, files)

    assert list(second.todo()) == [files[1]]
    second.close()


def test_a_recording_that_is_given_twice_is_done_once_and_has_two_rows(
    table: Path, files: list[Path]
) -> None:
    journal = begin(table, [files[0], *files])
    assert list(journal.todo()) == files
    fill(journal, *files)
    journal.finish(write)
    assert names(table) == ["a", "a", "b", "c"]


def finish(table: Path, files: list[Path]) -> None:
    journal = begin(table, files)
    fill(journal, *files[:2])
    fill(journal, files[2], error="damaged")
    journal.finish(write)


def test_the_same_call_again_finds_it_finished(table: Path, files: list[Path]) -> None:
    finish(table, files)
    again = begin(table, files)
    assert list(again.todo()) == []
    assert again.n_failed == 1


def test_a_call_that_was_cut_off_after_the_table_is_finished(
    table: Path, files: list[Path]
) -> None:
    """Killed with the table in place, before or after its run was noted as finished."""
    finish(table, files)
    run = table.with_name("tags.jsonl.run.json")
    table.with_name("tags.jsonl.journal").touch()
    run.write_text(json.dumps({"call": CALL}))

    again = begin(table, files)

    assert list(again.todo()) == files
    again.close()


def test_with_overwrite_all_is_done_anew(table: Path, files: list[Path]) -> None:
    finish(table, files)
    again = begin(table, files, overwrite=True)
    assert list(again.todo()) == files
    assert not table.exists()
    again.close()


def test_with_overwrite_a_cut_off_call_goes_on_too(table: Path, files: list[Path]) -> None:
    first = begin(table, files, overwrite=True)
    fill(first, files[0])
    first.close()
    again = begin(table, files, overwrite=True)
    assert list(again.todo()) == files[1:]
    again.close()


def test_what_is_from_another_call_is_kept_unless_it_may_be_overwritten(
    table: Path, files: list[Path]
) -> None:
    first = begin(table, files)
    fill(first, files[0])
    first.close()

    with pytest.raises(ConfigError, match=r"from another call, with another top; .*--overwrite"):
        begin(table, files, top=5)
    anew = begin(table, files, top=5, overwrite=True)

    assert list(anew.todo()) == files
    anew.close()


def test_a_table_of_other_recordings_is_kept(table: Path, files: list[Path]) -> None:
    finish(table, files)
    with pytest.raises(ConfigError, match="of other recordings"):
        begin(table, files[:2])


def test_a_table_that_nothing_is_known_of_is_kept(table: Path, files: list[Path]) -> None:
    table.parent.mkdir()
    table.write_text("precious\n")
    with pytest.raises(ConfigError, match="exists already"):
        begin(table, files)
    assert table.read_text() == "precious\n"


def test_a_damaged_run_is_named(table: Path, files: list[Path]) -> None:
    finish(table, files)
    table.with_name("tags.jsonl.run.json").write_text("{")
    with pytest.raises(ConfigError, match=r"run\.json is damaged"):
        begin(table, files)


def test_a_damaged_journal_is_named(table: Path, files: list[Path]) -> None:
    first = begin(table, files)
    fill(first, *files)
    first.close()
    journal = table.with_name("tags.jsonl.journal")
    journal.write_bytes(b"\0" + journal.read_bytes()[1:])
    with pytest.raises(DataError, match="journal is damaged at byte 0"):
        begin(table, files)


def test_a_place_that_cannot_be_written_to_is_named(table: Path, files: list[Path]) -> None:
    table.parent.mkdir()
    table.with_name("tags.jsonl.run.json.part").mkdir()
    with pytest.raises(ConfigError, match=r"tags\.jsonl cannot be written: is a directory"):
        begin(table, files)
