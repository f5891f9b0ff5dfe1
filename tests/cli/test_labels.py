"""The options --labels, --level and --all-labels of `tag` and `timeline`."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import run

from audiomamba import checkpoints


@pytest.fixture(scope="module")
def folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model, with bell not to be trusted and dog below animals."""
    path = tmp_path_factory.mktemp("labels") / "tiny"
    known = checkpoints.load(model_folder)
    checkpoints.save(path, replace(known, hidden=("bell",), parents={"dog": ("animals",)}))
    return path


def labels(*arguments: object) -> set[str]:
    """The labels in what a call of `tag` prints."""
    result = run("tag", *arguments, "--csv", "--top", 3)
    assert result.exit_code == 0
    return {row["label"] for row in csv.DictReader(io.StringIO(result.stdout))}


def test_the_options_choose_the_labels(folder: Path, good: Path, tmp_path: Path) -> None:
    names = tmp_path / "labels.txt"
    names.write_text("\ufeffrain\r\n\r\nbell\r\n", "utf-8")

    assert labels(good, "--model", folder) == {"dog", "rain"}
    assert labels(good, "--model", folder, "--all-labels") == {"bell", "dog", "rain"}
    assert labels(good, "--model", folder, "--labels", names) == {"bell", "rain"}
    assert labels(good, "--model", folder, "--level", 1) == {"animals", "rain"}


def test_timelines_show_the_chosen_labels(folder: Path, good: Path, tmp_path: Path) -> None:
    names = tmp_path / "labels.txt"
    names.write_text("rain\n", "utf-8")
    call = ("timeline", good, "--model", folder, "--threshold", "0.01", "--format", "csv")

    shown = run(*call, "--labels", names)
    kinds = run(*call, "--level", 1)

    assert {row["label"] for row in csv.DictReader(io.StringIO(shown.stdout))} == {"rain"}
    found = {row["label"] for row in csv.DictReader(io.StringIO(kinds.stdout))}
    assert found == {"animals", "rain"}


def test_a_file_of_labels_that_does_not_help_is_one_line(
    folder: Path, good: Path, tmp_path: Path
) -> None:
    names = tmp_path / "labels.txt"
    names.write_bytes(b"\xff\xfe\xff")

    missing = run("tag", good, "--model", folder, "--labels", tmp_path / "none.txt")
    binary = run("tag", good, "--model", folder, "--labels", names)
    names.write_text("wolf\n")
    unknown = run("tag", good, "--model", folder, "--labels", names)

    assert {missing.exit_code, binary.exit_code, unknown.exit_code} == {2}
    assert "no such file" in missing.stderr
    assert "no UTF-8 text" in binary.stderr
    assert "unknown label 'wolf'" in unknown.stderr


def test_a_table_of_other_labels_is_another_call(folder: Path, good: Path, tmp_path: Path) -> None:
    call = ("tag", good, "--model", folder, "--out", tmp_path / "tags.csv")

    assert run(*call).exit_code == 0
    other = run(*call, "--all-labels")

    assert other.exit_code == 2
