"""`audiomamba tag`: what it prints, where, and the exit code."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import LABELS, noise, run, write
from safetensors.torch import load_file, save_file


def test_the_table_shows_the_three_highest_tags(model_folder: Path, good: Path) -> None:
    result = run("tag", good, "--model", model_folder)

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 2 + 3
    assert all(label in result.stdout for label in LABELS)


def test_json_lines_hold_file_seconds_and_tags(model_folder: Path, good: Path) -> None:
    result = run("tag", good, good, "--model", model_folder, "--json", "--top", 2)

    assert result.exit_code == 0
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["file"] for row in rows] == [str(good)] * 2
    assert rows[0]["seconds"] == 0.5
    assert [sorted(tag) for tag in rows[0]["tags"]] == [["label", "score"]] * 2


def test_csv_has_a_row_per_tag(model_folder: Path, good: Path) -> None:
    result = run("tag", good, "--model", model_folder, "--csv")

    assert result.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["file"] for row in rows] == [str(good)] * 3


def test_a_table_has_a_row_per_recording_also_for_those_that_fail(
    model_folder: Path, good: Path, tmp_path: Path
) -> None:
    out, missing = tmp_path / "tags.csv", tmp_path / "missing.wav"
    call = ("tag", missing, good, "--model", model_folder, "--out", out)

    result = run(*call)
    again, other = run(*call), run(*call, "--top", 1)
    replaced = run(*call, "--top", 1, "--overwrite")

    assert result.exit_code == 1
    assert result.stdout == ""
    error, summary = result.stderr.splitlines()
    assert error == f"audiomamba: {missing}: no such file"
    assert re.match(r"audiomamba: 2 recordings, 1 failed, 0.50 s of sound, in .* files/s", summary)
    assert again.exit_code == 1
    assert "complete already" in again.stderr
    assert other.exit_code == 2
    assert "from another call, with another top" in other.stderr
    assert replaced.exit_code == 1
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["file"] for row in rows] == [str(missing), str(good)]
    assert [row["error"] for row in rows] == [f"{missing}: no such file", ""]
    assert [bool(row["label_1"]) for row in rows] == [False, True]


def test_windows_of_another_length_give_other_scores(model_folder: Path, good: Path) -> None:
    call = ("tag", good, "--model", model_folder, "--json")

    default, shorter, same = (
        json.loads(run(*call, *more).stdout)["tags"]
        for more in ((), ("--window", 0.1, "--hop", 0.05), ("--window", 0.335, "--hop", 0.335))
    )

    assert same == default
    assert shorter != default


def test_a_short_recording_is_tagged_with_a_note(model_folder: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "short.wav", noise(0.003), 16_000)

    result = run("tag", file, "--model", model_folder, "--json")

    assert result.exit_code == 0
    assert "under half of a window" in json.loads(result.stdout)["note"]
    (line,) = result.stderr.splitlines()
    assert line.startswith("audiomamba: note: 1 recording is shorter than half of a window")


def test_a_threshold_alone_shows_all_that_reach_it(model_folder: Path, good: Path) -> None:
    every = json.loads(run("tag", good, "--model", model_folder, "--json").stdout)["tags"]
    limit = every[1]["score"] - 0.00005

    row = run("tag", good, "--model", model_folder, "--json", "--threshold", limit)

    assert json.loads(row.stdout)["tags"] == every[:2]


def test_folders_are_searched_and_other_files_left_out(
    model_folder: Path, good: Path, tmp_path: Path
) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    write(deep / "rain.flac", noise(0.4), 44_100)
    (deep / "notes.txt").write_text("no sound")

    result = run("tag", tmp_path, "--model", model_folder, "--json")

    assert result.exit_code == 0
    files = [json.loads(line)["file"] for line in result.stdout.splitlines()]
    assert files == [str(deep / "rain.flac"), str(good)]


def test_a_picture_is_drawn(model_folder: Path, good: Path, tmp_path: Path) -> None:
    picture = tmp_path / "tags.png"

    result = run("tag", good, "--model", model_folder, "--picture", picture)

    assert result.exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_eight_channels_at_192_khz_are_tagged(model_folder: Path, tmp_path: Path) -> None:
    wide = np.stack([noise(0.5, 192_000)] * 8, axis=1)
    file = write(tmp_path / "wide.wav", wide, 192_000)

    result = run("tag", file, "--model", model_folder, "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["seconds"] == 0.5


# Recordings that cannot be tagged: one line for each, the others done, exit code 1


def empty(folder: Path) -> Path:
    (folder / "bad.wav").touch()
    return folder / "bad.wav"


def renamed_text(folder: Path) -> Path:
    (folder / "bad.wav").write_text("These are words, not sound.\n" * 50)
    return folder / "bad.wav"


def truncated_flac(folder: Path) -> Path:
    path = write(folder / "bad.flac", noise(3.0), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def no_samples(folder: Path) -> Path:
    return write(folder / "bad.wav", np.zeros(0), 16_000)


def nan_samples(folder: Path) -> Path:
    samples = noise(0.5)
    samples[4000] = np.nan
    return write(folder / "bad.wav", samples, 16_000, "FLOAT")


def folder_without_audio(folder: Path) -> Path:
    (folder / "bad").mkdir()
    (folder / "bad" / "notes.txt").write_text("no sound")
    return folder / "bad"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder / "bad.wav", "no such file"),
        (empty, "empty"),
        (renamed_text, "not audio"),
        (truncated_flac, "cut short"),
        (no_samples, "no samples"),
        (nan_samples, "NaN"),
        (folder_without_audio, "no audio files"),
    ],
)
def test_a_bad_recording_gets_one_line_and_the_others_are_done(
    make: Callable[[Path], Path], reason: str, model_folder: Path, good: Path, tmp_path: Path
) -> None:
    bad = make(tmp_path)

    result = run("tag", bad, good, "--model", model_folder, "--json")

    assert result.exit_code == 1
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == [str(good)]
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"audiomamba: {bad}: ")
    assert reason in line


# Calls that are wrong: one line, exit code 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--json", "--csv"), "--json and --csv were both given"),
        (("--model", "generl"), "unknown model or model folder 'generl'; did you mean general?"),
        (("--model", "starter"), "'starter' is no longer part of audiomamba; use 'general'"),
        (("--out", "nowhere/tags.csv"), "nowhere/tags.csv cannot be written"),
        (("--out", "tags.txt"), "tags.txt: no format for tags has this suffix"),
        (("--out", "tags.csv", "--json"), "--out takes its format from the name"),
        (("--overwrite",), "--overwrite was given without --out"),
        (("--raw", "16000"), "--raw and --events are for standard input"),
        (("-",), "- stands alone"),
        (("--window", "9"), "a window of 9.0 s was asked for"),
        (("--hop", "9"), "a hop of 9.0 s was asked for"),
        (("--mode", "nativ"), "unknown mode 'nativ'; did you mean native"),
        (("--picture", "tags.txt"), "tags.txt: no format for a picture has this suffix"),
        (("--top", "0"), "Invalid value for '--top'"),
        (("--threshold", "1.5"), "Invalid value for '--threshold'"),
        (("--toop", "3"), "No such option: --toop"),
    ],
)
def test_a_wrong_call_is_refused_before_any_work(
    arguments: tuple[str, ...], reason: str, model_folder: Path, good: Path
) -> None:
    model = () if "--model" in arguments else ("--model", model_folder)

    result = run("tag", good, *model, *arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert reason in " ".join(result.stderr.replace("│", " ").split())


def test_a_model_with_a_missing_key_is_named(
    model_folder: Path, good: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((model_folder / "config.json").read_bytes())
    state = load_file(model_folder / "model.safetensors")
    del state["norm_f.weight"]
    save_file(state, broken / "model.safetensors")

    result = run("tag", good, "--model", broken)

    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "norm_f.weight" in line
