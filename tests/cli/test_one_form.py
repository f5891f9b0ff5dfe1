"""A result has one form: on stdout, in files and in Python, to the letter."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from command_line import noise, run, write

import audiomamba
from audiomamba import checkpoints, infer
from audiomamba.infer import Failed

DEMO = Path(__file__).parents[2] / "demo" / "recordings"


@pytest.fixture(scope="module", params=["without thresholds", "with thresholds"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model; its thresholds, where it has some, lie among its scores."""
    checkpoint = checkpoints.load(checkpoints.find("general"))
    thresholds = tuple(np.linspace(0.02, 0.9, len(checkpoint.labels)).tolist())
    known = None if request.param == "without thresholds" else thresholds
    folder = tmp_path_factory.mktemp("models") / request.param.split()[0]
    checkpoints.save(folder, replace(checkpoint, thresholds=known))
    return folder


@pytest.fixture
def files(tmp_path: Path) -> Sequence[Path]:
    """Real recordings, and one that is too short for its scores to mean much."""
    recordings = [DEMO / name for name in ("rooster.wav", "dog.ogg", "cat.mp3", "guitar.flac")]
    return [*recordings, write(tmp_path / 'short, "ä".flac', noise(0.3), 44_100)]


def json_lines(results: Iterable[Any]) -> list[str]:
    return [json.dumps(one.to_dict(), ensure_ascii=False) + "\n" for one in results]


def in_csv(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_tags_have_one_form(model: Path, files: Sequence[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound")
    call = ("tag", *files, broken, "--model", model, "--top", 4)

    printed = run(*call, "--json").stdout
    run(*call, "--out", tmp_path / "tags.jsonl")

    results = list(infer.tag_files(audiomamba.load(model), [*files, broken], top=4))
    expected = json_lines(results)
    assert [isinstance(one, Failed) for one in results] == [False] * len(files) + [True]
    assert (tmp_path / "tags.jsonl").read_bytes() == "".join(expected).encode()
    assert printed.encode() == "".join(expected[:-1]).encode()
    heard = {tag.get("heard") for line in expected for tag in json.loads(line)["tags"]}
    assert heard == ({None} if model.name == "without" else {True, False})


def test_tables_hold_what_json_holds(model: Path, files: Sequence[Path], tmp_path: Path) -> None:
    call = ("tag", *files, "--model", model, "--top", 2)
    rows = [json.loads(line) for line in run(*call, "--json").stdout.splitlines()]
    for suffix in ("csv", "parquet"):
        run(*call, "--out", tmp_path / f"tags.{suffix}")

    with (tmp_path / "tags.csv").open(newline="", encoding="utf-8") as file:
        wide = list(csv.DictReader(file))
    table = pyarrow.parquet.read_table(tmp_path / "tags.parquet").to_pylist()
    per_tag = list(csv.DictReader(io.StringIO(run(*call, "--csv").stdout)))

    for row, cells, record in zip(rows, wide, table, strict=True):
        tags = row.pop("tags")
        flat = row | {f"{key}_{n}": tag[key] for n, tag in enumerate(tags, 1) for key in tag}
        assert cells == {key: in_csv(value) for key, value in flat.items()}
        scores = {key: pytest.approx(flat[key]) for key in flat if key.startswith("score")}
        assert record == flat | scores  # float32 in parquet
        for tag in tags:
            first = {"file": row["file"], "seconds": row["seconds"]}
            assert per_tag.pop(0) == {key: in_csv(value) for key, value in (first | tag).items()}
    assert not per_tag


def test_events_have_one_form(model: Path, files: Sequence[Path], tmp_path: Path) -> None:
    call = ("timeline", *files, "--model", model, "--threshold", 0.1)

    printed = run(*call, "--format", "json").stdout
    run(*call, "--out", tmp_path / "events.JSONL")

    rule = infer.EventRule(threshold=0.1)
    found = infer.find_events_in_files(audiomamba.load(model), files, rule=rule)
    expected = json_lines(found)
    events = [event for line in expected for event in json.loads(line)["events"]]
    assert events
    assert printed == "".join(expected)
    assert (tmp_path / "events.JSONL").read_bytes() == printed.encode()
    rows = csv.DictReader(io.StringIO(run(*call, "--format", "csv").stdout))
    assert [{key: row[key] for key in events[0]} for row in rows] == [
        {key: in_csv(value) for key, value in event.items()} for event in events
    ]


def test_embeddings_have_one_form(model: Path, files: Sequence[Path], tmp_path: Path) -> None:
    for suffix in ("npy", "parquet"):
        run("embed", *files, "--model", model, "--out", tmp_path / f"cli.{suffix}")

    made = infer.embed_files(audiomamba.load(model), files, tmp_path / "python.npy")
    rows = [one.to_dict() for one in made]

    for name in ("cli", "python"):
        assert json.loads((tmp_path / f"{name}.json").read_text("utf-8"))["recordings"] == rows
    table = pyarrow.parquet.read_table(tmp_path / "cli.parquet").to_pylist()
    assert [(row["file"], row["seconds"]) for row in table] == [
        (row["file"], row["seconds"]) for row in rows
    ]


def test_a_table_of_an_older_version_is_refused_and_kept(
    model: Path, files: Sequence[Path], tmp_path: Path
) -> None:
    out = tmp_path / "tags.csv"
    call = ("tag", files[0], "--model", model, "--out", out)
    run(*call)
    run_file = tmp_path / "tags.csv.run.json"
    kept = json.loads(run_file.read_text())
    assert kept["call"].pop("schema") == 2  # which older versions did not write
    run_file.write_text(json.dumps(kept))
    before = out.read_bytes()

    result = run(*call)

    assert result.exit_code == 2
    assert result.stderr == (
        f"audiomamba: {out} is from another call, with another schema; another name keeps it, "
        "--overwrite replaces it\n"
    )
    assert out.read_bytes() == before
    assert run(*call, "--overwrite").exit_code == 0
