"""`audiomamba tag` as a process: terminals, pipes, Ctrl-C."""

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest
from command_line import command, interrupt, noise, write


def test_a_terminal_on_stderr_gets_progress_and_stdout_stays_clean(
    model_folder: Path, good: Path
) -> None:
    terminal, side = pty.openpty()
    with subprocess.Popen(
        command("tag", *[good] * 3, "--model", model_folder, "--json"),
        stdout=subprocess.PIPE,
        stderr=side,
    ) as process:
        os.close(side)
        assert process.stdout is not None
        rows = [json.loads(line) for line in process.stdout.read().splitlines()]
        shown = b""
        with os.fdopen(terminal, "rb", buffering=0) as screen:
            try:
                while part := screen.read(4096):
                    shown += part
            except OSError:  # how Linux says that the other side of a terminal is closed
                pass

    assert process.returncode == 0
    assert len(rows) == 3
    assert b"3/3" in shown


def test_nothing_but_results_is_printed_without_a_terminal(
    model_folder: Path, good: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.wav"

    done = subprocess.run(
        command("tag", good, missing, "--model", model_folder, "--csv"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == f"audiomamba: {missing}: no such file or folder\n"
    assert len(done.stdout.splitlines()) == 1 + 3


def test_a_file_name_that_is_no_text_is_shown_escaped(model_folder: Path, good: Path) -> None:
    odd = os.fsencode(good.parent) + b"/caf\xe9.wav"
    Path(os.fsdecode(odd)).write_bytes(good.read_bytes())
    arguments = [*map(os.fsencode, command("tag", "--json", "--model", model_folder)), odd]

    done = subprocess.run(arguments, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["file"] == os.fsdecode(odd)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_tagging_quietly_and_keeps_what_is_done(
    model_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tags.jsonl"
    long = write(tmp_path / "long.wav", noise(60), 16_000)
    arguments = [*[long] * 400, "--model", model_folder, "--json"]
    with (
        out.open("w") as file,
        subprocess.Popen(
            command("tag", *arguments), stdout=file, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        error = interrupt(process, lambda: out.stat().st_size > 0)

    assert process.returncode == 130
    assert error == ""
    assert [json.loads(line) for line in out.read_text().splitlines()]


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_a_table_that_the_same_call_goes_on_with(
    model_folder: Path, tmp_path: Path
) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for place in range(300):
        write(recordings / f"{place}.wav", noise(6), 16_000)
    journal, call = tmp_path / "tags.csv.journal", (recordings, "--model", model_folder)
    call = command("tag", *call, "--out", tmp_path / "tags.csv")
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True) as process:
        error = interrupt(process, lambda: journal.exists() and journal.stat().st_size > 0)
    n_done = journal.read_bytes().count(b"\n")

    done = subprocess.run(call, capture_output=True, text=True, check=False)

    assert process.returncode == 130
    assert re.fullmatch(r"audiomamba: \d+ recordings are left; the same call goes on\n", error)
    assert done.returncode == 0, done.stderr
    assert f"audiomamba: {300 - n_done} recordings, " in done.stderr
    assert (tmp_path / "tags.csv").read_text().count("\n") == 301


def test_a_reader_that_goes_away_is_no_error(model_folder: Path, good: Path) -> None:
    with subprocess.Popen(
        command("tag", *[good] * 50, "--model", model_folder, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read()

    assert process.returncode == 1
    assert b"Traceback" not in error
