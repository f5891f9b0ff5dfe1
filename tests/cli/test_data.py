"""`audiomamba data`: what it prints, where, and the exit code."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import lay_out
from typer.testing import CliRunner, Result

from audiomamba.cli import app
from audiomamba.data import CORPORA, open_manifest


def run(*arguments: object) -> Result:
    """Run a command in this process; what it does not catch is raised."""
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_whole_corpus_is_done(tmp_path: Path) -> None:
    source = lay_out("speech_commands", tmp_path / "in")
    result = run("prepare", "speech_commands", "--from", source, "--to", tmp_path / "out")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout == (
        f"{tmp_path}/out/manifest.jsonl: 140 of 140 clips, 0.01 hours, 35 classes\n"
        "splits: test 35, train 70, valid 35\n"
    )


def test_what_is_left_out_is_told_and_the_exit_code_is_1(tmp_path: Path) -> None:
    source = lay_out("voxceleb1", tmp_path / "in")
    first, second = sorted(source.rglob("*.wav"))[:2]
    first.unlink()
    second.write_text("no sound")
    result = run("prepare", "voxceleb1", "--from", source, "--to", tmp_path / "out", "--jobs", 1)
    assert result.exit_code == 1
    assert "23 of 25 clips" in result.stdout
    assert "note: no clip is labeled id10006, id10007, id10008 and 1243 more" in result.stdout
    table = f"{tmp_path}/out/problems.csv"
    assert result.stderr == (
        f"audiomamba: 1 clips are missing, 1 cannot be used: {table} names them\n"
    )


def test_shards_are_made_and_open(tmp_path: Path) -> None:
    source = lay_out("esc50", tmp_path / "in")
    run("prepare", "esc50", "--from", source, "--to", tmp_path / "out")
    result = run("shard", tmp_path / "out", "--to", tmp_path / "shards", "--rate", 16_000)
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path}/shards/manifest.jsonl: 50 clips in 5 tar files\n"
    assert {clip.sample_rate for clip in open_manifest(tmp_path / "shards").clips} == {16_000}


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("prepare", "esc", "--from", ".", "--to", "x"), 2, "unknown corpus 'esc'; did you mean"),
        (("prepare", "vggsound", "--from", "nowhere", "--to", "x"), 2, "nowhere: no such file"),
        (("download", "audioset", "--to", "x"), 2, "unknown corpus to download 'audioset'"),
        (("shard", "nowhere", "--to", "x"), 2, "nowhere: no such file or folder"),
        (("prepare", "esc50", "--from", ".", "--to", "x", "--jobs", 0), 2, "Invalid value"),
        (("prepare", "esc50", "--to", "x"), 2, "Missing option '--from'"),
    ],
)
def test_a_wrong_call_gets_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    exit_code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == exit_code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_corpus_is_listed() -> None:
    lines = run("corpora").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [name for name in CORPORA if name != "own"]
    assert any(line.split() == ["audioset", "527", "mAP", "unknown", "-"] for line in lines)
    assert any(line.endswith("2.4 GB") and "CC BY 4.0" in line for line in lines)


def test_a_download_that_fails_gets_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = replace(CORPORA["esc50"].download, url="http://127.0.0.1:9/archive")
    monkeypatch.setitem(CORPORA, "esc50", replace(CORPORA["esc50"], download=closed))
    result = run("download", "esc50", "--to", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith("audiomamba: http://127.0.0.1:9/archive: cannot be fetched")
    assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_ends_at_once_and_loses_nothing(tmp_path: Path) -> None:
    source = lay_out("speech_commands", tmp_path / "in")
    out = tmp_path / "out"
    call = ("data", "prepare", "speech_commands", "--from", source, "--to", out, "--jobs", "1")
    slow = (
        "import sys, time; from audiomamba.data import preparation; real = preparation._read\n"
        "preparation._read = lambda *a: (time.sleep(0.05), real(*a))[1]\n"
        "from audiomamba.cli import main; main()"
    )
    command = [sys.executable, "-c", slow, *map(str, call)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = out / "journal.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_text().count("\n") > 10):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr
    assert run(*call[1:]).exit_code == 0
    assert len(open_manifest(out).clips) == 140


def test_a_collection_is_listed_with_what_is_left_out(tmp_path: Path) -> None:
    source = lay_out("esc50", tmp_path / "in")
    (source / "audio" / "1-1000-A-0.wav").write_text("no sound")
    denied = tmp_path / "deny.txt"
    denied.write_text("1001\n")
    sources = tmp_path / "sources.csv"
    sources.write_text("path,source,license\naudio,ESC-50,CC-BY-NC-3.0\n")
    arguments = ("--exclude", denied, "--sources", sources)
    result = run(
        "prepare", "collection", "--from", source, "--to", tmp_path / "out", *arguments, "--jobs", 2
    )
    assert result.exit_code == 1
    assert result.stdout == (
        f"{tmp_path}/out/manifest.jsonl: 48 of 50 recordings, 0.00 hours, 1 sources\n"
        "CC-BY-NC-3.0: 0.00 hours\n"
        f"left out: 1 broken, 1 excluded; {tmp_path}/out/problems.csv names them\n"
    )
    assert result.stderr == (
        f"audiomamba: 1 cannot be read: {tmp_path}/out/problems.csv names them\n"
    )
    assert len(open_manifest(tmp_path / "out").clips) == 48


def test_what_is_left_out_on_purpose_is_no_failure(tmp_path: Path) -> None:
    source = lay_out("esc50", tmp_path / "in")
    denied = tmp_path / "deny.txt"
    denied.write_text("1001\n")
    arguments = ("--from", source, "--to", tmp_path / "out", "--exclude", denied)
    assert run("prepare", "collection", *arguments).exit_code == 0


@pytest.mark.parametrize("option", ["--exclude", "--sources"])
def test_options_of_a_collection_are_refused_elsewhere(tmp_path: Path, option: str) -> None:
    source = lay_out("esc50", tmp_path / "in")
    arguments = ("--from", source, "--to", tmp_path / "out", option, source / "meta/esc50.csv")
    result = run("prepare", "esc50", *arguments)
    assert result.exit_code == 2
    assert f"{option} is for `data prepare collection`; leave it out for esc50" in result.stderr
